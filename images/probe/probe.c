/*
 * probe: the one program that every test image has, and the only one in the scratch image.
 *
 * It shows what a process was given, and does on command what tests need done, without a shell, a
 * libc or a file of the image. Static; no option parsing beyond what is listed here.
 *
 *   probe env                    the environment, exactly: NAME=value NUL-terminated each
 *   probe args [ARG…]            the arguments, NUL-terminated each
 *   probe who                    what a process inherits, one "key value" a line: ids, groups, umask,
 *                                cwd, capabilities, signals, limits, oom score, scheduling, namespaces
 *                                ("ns.NAME"), cgroups ("cgroup.CONTROLLERS"), descriptors ("fd.N")
 *   probe ids                    pid, parent, process group, session, terminal's foreground group
 *   probe read FILE              the file to stdout
 *   probe write FILE [TEXT]      TEXT, or else stdin, to FILE (made or emptied; mode 0666 less the umask)
 *   probe stat PATH…             type, mode, uid, gid, size, device, inode, file system; links not followed
 *   probe ls DIR                 the names in it, sorted by nothing, one a line
 *   probe rm PATH…               removes files
 *   probe cat                    stdin to stdout
 *   probe gen BYTES SEED         as many pseudo-random bytes, the same for the same seed
 *   probe sum                    reads stdin to its end, prints "BYTES sha256 HEX"
 *   probe wc                     reads stdin to its end, prints the number of bytes: output after stdin's end
 *   probe early BYTES            reads so many bytes, closes stdin, prints how many, waits 0.2 s, prints "late"
 *   probe say [-e] TEXT…         each TEXT as a line to stdout, with -e to stderr
 *   probe both                   "out" to stdout and "err" to stderr
 *   probe exit N                 ends with status N
 *   probe kill N                 ends by signal N (default action, unblocked); 200 if it survives
 *   probe signals [SECONDS]      prints "ready", then "signal N" for each that comes; ends with 0 after
 *                                SIGTERM or SIGUSR2, with 3 when the seconds (30) are over
 *   probe trap N CODE            prints "ready", ends with CODE when signal N comes, with 3 after 30 s
 *   probe sleep SECONDS          fractions allowed
 *   probe spin SECONDS           keeps one cpu busy
 *   probe alloc MIB [SECONDS]    takes and touches memory, prints "held MIB", keeps it
 *   probe tty                    which of 0 1 2 are terminals, size, whether in the foreground
 *   probe winch                  prints "size ROWS COLS" at the start and at each SIGWINCH, until stdin ends
 *   probe stop                   stops itself (SIGTSTP), prints "continued"
 *   probe detach COMMAND [ARG…]  starts it in a session of its own, stdio on /dev/null, prints its pid
 *   probe group COMMAND [ARG…]   starts it as a child in the same process group, waits for it; same end
 *   probe alive PID              status 0 if there is such a process, else 1
 *   probe exec COMMAND [ARG…]    becomes it (searched in PATH)
 *   probe connect HOST PORT      TCP, numeric address; prints the first line it gets (or "open" after 1 s)
 *   probe listen PORT            accepts one connection on any address, says "hello from HOSTNAME"
 *   probe unix PATH              connects to a unix socket; prints the first line it gets (or "open")
 *   probe resolve NAME           the addresses of NAME, by this C library's look-up (/etc/hosts, dns)
 *
 * Several can be had in one run: "probe who -- env" runs the parts one after the other and ends with
 * the first status that is not 0. (Not for args, exec, detach, group, which take all that follows.)
 *
 * Errors: "probe: WHAT: REASON" on stderr, status 111; wrong use: 112.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static _Noreturn void fail(const char *what) {
  int e = errno;
  fflush(stdout);
  fprintf(stderr, "probe: %s: %s\n", what, strerror(e));
  exit(111);
}

static _Noreturn void misuse(const char *text) {
  fflush(stdout);
  fprintf(stderr, "probe: %s\n", text);
  exit(112);
}

static void write_all(int fd, const void *data, size_t size) {
  const char *p = data;
  while (size > 0) {
    ssize_t n = write(fd, p, size);
    if (n < 0) {
      if (errno == EINTR) continue;
      fail("write");
    }
    p += n;
    size -= (size_t)n;
  }
}

static ssize_t read_some(int fd, void *data, size_t size) {
  ssize_t n;
  do n = read(fd, data, size);
  while (n < 0 && errno == EINTR);
  if (n < 0) fail("read");
  return n;
}

static void copy(int from, int to) {
  static char buffer[65536];
  ssize_t n;
  while ((n = read_some(from, buffer, sizeof buffer)) > 0) write_all(to, buffer, (size_t)n);
}

static double seconds(const char *text) {
  char *end;
  double value = strtod(text, &end);
  if (*text == 0 || *end != 0 || value < 0) misuse("not a number of seconds");
  return value;
}

static long number(const char *text) {
  char *end;
  long value = strtol(text, &end, 10);
  if (*text == 0 || *end != 0) misuse("not a number");
  return value;
}

static void pause_for(double time) {
  struct timespec rest = {(time_t)time, (long)((time - (double)(time_t)time) * 1e9)};
  while (nanosleep(&rest, &rest) < 0 && errno == EINTR) {}
}

/* --- what a process was given ------------------------------------------------------------------ */

static void print_limits(void) {
  static const struct { int id; const char *name; } list[] = {
    {RLIMIT_AS, "as"}, {RLIMIT_CORE, "core"}, {RLIMIT_CPU, "cpu"}, {RLIMIT_DATA, "data"},
    {RLIMIT_FSIZE, "fsize"}, {RLIMIT_LOCKS, "locks"}, {RLIMIT_MEMLOCK, "memlock"},
    {RLIMIT_MSGQUEUE, "msgqueue"}, {RLIMIT_NICE, "nice"}, {RLIMIT_NOFILE, "nofile"},
    {RLIMIT_NPROC, "nproc"}, {RLIMIT_RSS, "rss"}, {RLIMIT_RTPRIO, "rtprio"},
    {RLIMIT_RTTIME, "rttime"}, {RLIMIT_SIGPENDING, "sigpending"}, {RLIMIT_STACK, "stack"},
  };
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    struct rlimit limit;
    if (getrlimit(list[i].id, &limit) != 0) continue;
    printf("limit.%s", list[i].name);
    for (int hard = 0; hard < 2; hard++) {
      rlim_t value = hard ? limit.rlim_max : limit.rlim_cur;
      if (value == RLIM_INFINITY) printf(" unlimited");
      else printf(" %llu", (unsigned long long)value);
    }
    putchar('\n');
  }
}

static void print_links(const char *dir, const char *prefix) {
  DIR *d = opendir(dir);
  if (!d) return;
  struct dirent *e;
  while ((e = readdir(d))) {
    char target[4096];
    if (e->d_name[0] == '.') continue;
    if (strtol(e->d_name, NULL, 10) == dirfd(d) && e->d_name[0] >= '0' && e->d_name[0] <= '9') continue;
    ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
    if (n < 0) continue;
    target[n] = 0;
    printf("%s.%s %s\n", prefix, e->d_name, target);
  }
  closedir(d);
}

static void print_status_lines(void) {
  static const char *keys[] = {"SigBlk:", "SigIgn:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:",
                               "CapAmb:", "NoNewPrivs:", "Seccomp:", "Cpus_allowed_list:", NULL};
  char line[4096];
  FILE *f = fopen("/proc/self/status", "r");
  if (!f) return;
  while (fgets(line, sizeof line, f))
    for (const char **k = keys; *k; k++)
      if (strncmp(line, *k, strlen(*k)) == 0) {
        char *value = line + strlen(*k);
        while (*value == ' ' || *value == '\t') value++;
        printf("%.*s %s", (int)strlen(*k) - 1, *k, value);
      }
  fclose(f);
}

static void print_file(const char *path, const char *key) {
  char line[4096];
  FILE *f = fopen(path, "r");
  if (!f) return;
  if (fgets(line, sizeof line, f)) printf("%s %.*s\n", key, (int)strcspn(line, "\n"), line);
  fclose(f);
}

static int who(void) {
  uid_t r, e, s;
  gid_t rg, eg, sg;
  char cwd[4096], host[256];
  getresuid(&r, &e, &s);
  getresgid(&rg, &eg, &sg);
  printf("uid %u %u %u\ngid %u %u %u\n", r, e, s, rg, eg, sg);
  static gid_t groups[65536];
  int n = getgroups(65536, groups);
  printf("groups");
  for (int i = 0; i < n; i++) printf(" %u", groups[i]);
  mode_t mask = umask(0);
  umask(mask);
  printf("\numask %04o\n", (unsigned)mask);
  printf("cwd %s\n", getcwd(cwd, sizeof cwd) ? cwd : "(unreachable)");
  if (gethostname(host, sizeof host) == 0) printf("hostname %s\n", host);
  print_status_lines();
  print_limits();
  print_file("/proc/self/oom_score_adj", "oom_score_adj");
  print_file("/proc/self/loginuid", "loginuid");
  printf("nice %d\nscheduler %d\n", getpriority(PRIO_PROCESS, 0), (int)syscall(SYS_sched_getscheduler, 0));
  printf("dumpable %d\nsubreaper ", prctl(PR_GET_DUMPABLE));
  int subreaper = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
  printf("%d\n", subreaper);
  print_links("/proc/self/ns", "ns");
  char line[4096];
  FILE *f = fopen("/proc/self/cgroup", "r");
  if (f) {
    while (fgets(line, sizeof line, f)) {
      char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
      if (!path) continue;
      *path++ = 0;
      printf("cgroup.%s %s", names[1] ? names + 1 : "unified", path);
    }
    fclose(f);
  }
  print_links("/proc/self/fd", "fd");
  return 0;
}

static int ids(void) {
  printf("pid %d\nppid %d\npgid %d\nsid %d\n", getpid(), getppid(), getpgrp(), getsid(0));
  int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  printf("tty %s\nforeground %d\n", fd < 0 ? "none" : "yes", fd < 0 ? -1 : tcgetpgrp(fd));
  if (fd >= 0) close(fd);
  return 0;
}

static int tty(void) {
  for (int fd = 0; fd < 3; fd++) printf("isatty.%d %d\n", fd, isatty(fd));
  for (int fd = 0; fd < 3; fd++) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0) continue;
    printf("size %d %d\n", size.ws_row, size.ws_col);
    printf("in_foreground %d\n", tcgetpgrp(fd) == getpgrp());
    break;
  }
  return 0;
}

/* --- files --------------------------------------------------------------------------------------- */

static int show_stat(const char *path) {
  struct stat st;
  struct statfs fs;
  if (lstat(path, &st) != 0) fail(path);
  const char *type = S_ISREG(st.st_mode) ? "file" : S_ISDIR(st.st_mode) ? "dir" : S_ISLNK(st.st_mode) ? "link"
                   : S_ISSOCK(st.st_mode) ? "socket" : S_ISFIFO(st.st_mode) ? "fifo"
                   : S_ISCHR(st.st_mode) ? "char" : "block";
  printf("%s mode %04o uid %u gid %u size %lld dev %u:%u ino %llu", type, st.st_mode & 07777u, st.st_uid,
         st.st_gid, (long long)st.st_size, major(st.st_dev), minor(st.st_dev), (unsigned long long)st.st_ino);
  if (!S_ISLNK(st.st_mode) && statfs(path, &fs) == 0) printf(" fs %lx", (unsigned long)fs.f_type);
  printf(" %s\n", path);
  return 0;
}

static int list(const char *path) {
  DIR *d = opendir(path);
  if (!d) fail(path);
  struct dirent *e;
  while ((e = readdir(d)))
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) puts(e->d_name);
  closedir(d);
  return 0;
}

/* --- streams ------------------------------------------------------------------------------------- */

/* SHA-256 (FIPS 180-4), so that a scratch image can check what it got. */
static uint32_t sha_state[8];
static const uint32_t sha_k[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))
static void sha_block(const unsigned char *p) {
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; i++)
    w[i] = w[i - 16] + (ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
           (ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ w[i - 2] >> 10);
  memcpy(s, sha_state, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t a = s[7] + (ROR(s[4], 6) ^ ROR(s[4], 11) ^ ROR(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
                 sha_k[i] + w[i];
    uint32_t b = (ROR(s[0], 2) ^ ROR(s[0], 13) ^ ROR(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += a;
    s[0] = a + b;
  }
  for (int i = 0; i < 8; i++) sha_state[i] += s[i];
}

static int sum(void) {
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  static unsigned char buffer[65536 + 128];
  unsigned long long total = 0;
  size_t have = 0;
  ssize_t n;
  memcpy(sha_state, start, sizeof start);
  while ((n = read_some(0, buffer + have, 65536 - have)) > 0) {
    size_t at = 0;
    total += (unsigned long long)n;
    have += (size_t)n;
    for (; have - at >= 64; at += 64) sha_block(buffer + at);
    memmove(buffer, buffer + at, have - at);
    have -= at;
  }
  size_t end = have < 56 ? 64 : 128;
  memset(buffer + have, 0, end - have);
  buffer[have] = 0x80;
  for (int i = 0; i < 8; i++) buffer[end - 1 - (size_t)i] = (unsigned char)(total * 8 >> 8 * i);
  for (size_t at = 0; at < end; at += 64) sha_block(buffer + at);
  printf("%llu sha256 ", total);
  for (int i = 0; i < 8; i++) printf("%08x", sha_state[i]);
  putchar('\n');
  return 0;
}

static int gen(long long bytes, uint64_t seed) {
  static uint64_t block[8192];
  uint64_t x = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
  while (bytes > 0) {
    for (size_t i = 0; i < sizeof block / sizeof *block; i++) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      block[i] = x * 0x2545f4914f6cdd1du;
    }
    size_t n = bytes < (long long)sizeof block ? (size_t)bytes : sizeof block;
    write_all(1, block, n);
    bytes -= (long long)n;
  }
  return 0;
}

static int early(long long bytes) {
  static char buffer[65536];
  long long got = 0;
  while (got < bytes) {
    size_t want = bytes - got < (long long)sizeof buffer ? (size_t)(bytes - got) : sizeof buffer;
    ssize_t n = read_some(0, buffer, want);
    if (n == 0) break;
    got += n;
  }
  close(0);
  printf("%lld\n", got);
  fflush(stdout);
  pause_for(0.2);
  puts("late");
  return 0;
}

/* --- signals ------------------------------------------------------------------------------------- */

/* musl keeps signals 32 to 34 for itself and leaves them out of its sets; to us they are like the rest. */
static void add_signal(sigset_t *set, int sig) {
  const size_t bits = 8 * sizeof(unsigned long), at = (size_t)sig - 1;
  if (sig < 1 || sig > 64) misuse("no such signal");
  ((unsigned long *)set)[at / bits] |= 1ul << at % bits;
}

static int die_by(int sig) {
  sigset_t set;
  fflush(stdout);
  signal(sig, SIG_DFL);
  sigemptyset(&set);
  add_signal(&set, sig);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  kill(getpid(), sig);
  pause_for(0.05);
  return 200;
}

static void ready(void) {
  puts("ready");
  fflush(stdout);
}

/* Waits for signals with sigtimedwait: nothing is lost between two. Returns the signal or 0. */
static int next_signal(const sigset_t *set, double *left) {
  struct timespec from, to, limit = {(time_t)*left, (long)((*left - (double)(time_t)*left) * 1e9)};
  clock_gettime(CLOCK_MONOTONIC, &from);
  int sig = sigtimedwait(set, NULL, &limit);
  clock_gettime(CLOCK_MONOTONIC, &to);
  *left -= (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
  if (*left < 0) *left = 0;
  if (sig > 0) return sig;
  if (errno == EINTR) return -1;
  return 0;
}

static int signals(double left) {
  sigset_t set;
  sigemptyset(&set);
  for (int sig = 1; sig <= 64; sig++) add_signal(&set, sig);
  sigprocmask(SIG_SETMASK, &set, NULL);
  ready();
  for (;;) {
    int sig = next_signal(&set, &left);
    if (sig < 0) continue;
    if (sig == 0) return 3;
    printf("signal %d\n", sig);
    fflush(stdout);
    if (sig == SIGTERM || sig == SIGUSR2) return 0;
  }
}

static int trap(int wanted, int code) {
  sigset_t set;
  double left = 30;
  sigemptyset(&set);
  add_signal(&set, wanted);
  sigprocmask(SIG_BLOCK, &set, NULL);
  ready();
  for (;;) {
    int sig = next_signal(&set, &left);
    if (sig == wanted) return code;
    if (sig == 0) return 3;
  }
}

static int winch(void) {
  sigset_t set;
  struct winsize size;
  sigemptyset(&set);
  sigaddset(&set, SIGWINCH);
  sigprocmask(SIG_BLOCK, &set, NULL);
  for (int first = 1;; first = 0) {
    double left = 0.05;
    char c;
    if (first || next_signal(&set, &left) == SIGWINCH) {
      if (ioctl(0, TIOCGWINSZ, &size) != 0) fail("terminal size");
      printf("size %d %d\n", size.ws_row, size.ws_col);
      fflush(stdout);
    }
    struct pollfd input = {0, POLLIN, 0};
    if (poll(&input, 1, 0) > 0 && read_some(0, &c, 1) == 0) return 0;
  }
}

/* --- processes ----------------------------------------------------------------------------------- */

static _Noreturn void become(char **argv) {
  fflush(stdout);
  execvp(argv[0], argv);
  int e = errno;
  fprintf(stderr, "probe: %s: %s\n", argv[0], strerror(e));
  _exit(e == ENOENT ? 127 : 126);
}

static int detach(char **argv) {
  int gate[2];
  char byte;
  fflush(stdout);
  if (pipe2(gate, O_CLOEXEC) != 0) fail("pipe");
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    setsid();
    int fd = open("/dev/null", O_RDWR);
    if (fd < 0) fail("/dev/null");
    for (int i = 0; i < 3; i++) dup2(fd, i);
    if (fd > 2) close(fd);
    become(argv);
  }
  close(gate[1]);
  /* Back only when it has its own session and runs: the pipe closes at exec. */
  read_some(gate[0], &byte, 1);
  close(gate[0]);
  printf("%d\n", pid);
  return 0;
}

static int group(char **argv) {
  int status;
  fflush(stdout);
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) become(argv);
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) fail("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : die_by(WTERMSIG(status));
}

static int alloc(long mib, double time) {
  size_t size = (size_t)mib << 20;
  char *p = malloc(size);
  if (!p) fail("memory");
  for (size_t i = 0; i < size; i += 4096) ((volatile char *)p)[i] = 1;
  printf("held %ld\n", mib);
  fflush(stdout);
  pause_for(time);
  return 0;
}

static int spin(double time) {
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 < time);
  return 0;
}

/* --- sockets ------------------------------------------------------------------------------------- */

static int first_line(int fd) {
  char line[1024];
  size_t have = 0;
  struct pollfd input = {fd, POLLIN, 0};
  while (have < sizeof line && poll(&input, 1, 1000) > 0) {
    ssize_t n = read_some(fd, line + have, 1);
    if (n == 0) break;
    if (line[have] == '\n' || line[have] == '\r') break;
    have++;
  }
  if (have > 0) printf("%.*s\n", (int)have, line);
  else puts("open");
  return 0;
}

static int tcp(const char *host, const char *port) {
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *address;
  if (getaddrinfo(host, port, &hints, &address) != 0) misuse("connect wants a numeric address and port");
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) fail("connect");
  return first_line(fd);
}

static int local(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) misuse("path too long");
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
  return first_line(fd);
}

static int serve(long port) {
  char host[256] = "", text[300];
  int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
  if (listen(fd, 8) != 0) fail("listen");
  ready();
  int peer = accept(fd, NULL, NULL);
  if (peer < 0) fail("accept");
  gethostname(host, sizeof host - 1);
  snprintf(text, sizeof text, "hello from %s\n", host);
  write_all(peer, text, strlen(text));
  return 0;
}

static int resolve(const char *name) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *address;
  int error = getaddrinfo(name, NULL, &hints, &address);
  if (error) {
    fflush(stdout);
    fprintf(stderr, "probe: %s: %s\n", name, gai_strerror(error));
    return 111;
  }
  for (; address; address = address->ai_next) {
    char text[256];
    if (getnameinfo(address->ai_addr, address->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
      puts(text);
  }
  return 0;
}

/* --- one command --------------------------------------------------------------------------------- */

static int is(const char *a, const char *b) { return strcmp(a, b) == 0; }

static int run(int n, char **a) {
  const char *verb = a[0];
  /* NEED(k): at least k words after the verb. */
#define NEED(k) do { if (n - 1 < (k)) misuse("too few arguments (see the head of probe.c)"); } while (0)
  if (is(verb, "env")) {
    for (char **e = environ; *e; e++) fwrite(*e, 1, strlen(*e) + 1, stdout);
    return 0;
  }
  if (is(verb, "args")) {
    for (int i = 1; i < n; i++) fwrite(a[i], 1, strlen(a[i]) + 1, stdout);
    return 0;
  }
  if (is(verb, "who")) return who();
  if (is(verb, "ids")) return ids();
  if (is(verb, "tty")) return tty();
  if (is(verb, "winch")) return winch();
  if (is(verb, "read")) {
    NEED(1);
    int fd = open(a[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail(a[1]);
    fflush(stdout);
    copy(fd, 1);
    close(fd);
    return 0;
  }
  if (is(verb, "write")) {
    NEED(1);
    int fd = open(a[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) fail(a[1]);
    if (n > 2) write_all(fd, a[2], strlen(a[2]));
    else copy(0, fd);
    if (close(fd) != 0) fail(a[1]);
    return 0;
  }
  if (is(verb, "stat")) {
    NEED(1);
    for (int i = 1; i < n; i++) show_stat(a[i]);
    return 0;
  }
  if (is(verb, "ls")) { NEED(1); return list(a[1]); }
  if (is(verb, "rm")) {
    NEED(1);
    for (int i = 1; i < n; i++) if (unlink(a[i]) != 0) fail(a[i]);
    return 0;
  }
  if (is(verb, "cat")) { fflush(stdout); copy(0, 1); return 0; }
  if (is(verb, "gen")) { NEED(2); fflush(stdout); return gen(number(a[1]), (uint64_t)number(a[2])); }
  if (is(verb, "sum")) return sum();
  if (is(verb, "wc")) {
    static char buffer[65536];
    unsigned long long total = 0;
    ssize_t got;
    while ((got = read_some(0, buffer, sizeof buffer)) > 0) total += (unsigned long long)got;
    printf("%llu\n", total);
    return 0;
  }
  if (is(verb, "early")) { NEED(1); return early(number(a[1])); }
  if (is(verb, "say")) {
    int err = n > 1 && is(a[1], "-e");
    for (int i = 1 + err; i < n; i++) fprintf(err ? stderr : stdout, "%s\n", a[i]);
    return 0;
  }
  if (is(verb, "both")) {
    puts("out");
    fflush(stdout);
    fputs("err\n", stderr);
    return 0;
  }
  if (is(verb, "exit")) { NEED(1); return (int)number(a[1]) & 255; }
  if (is(verb, "kill")) { NEED(1); return die_by((int)number(a[1])); }
  if (is(verb, "signals")) return signals(n > 1 ? seconds(a[1]) : 30);
  if (is(verb, "trap")) { NEED(2); return trap((int)number(a[1]), (int)number(a[2])); }
  if (is(verb, "sleep")) { NEED(1); fflush(stdout); pause_for(seconds(a[1])); return 0; }
  if (is(verb, "spin")) { NEED(1); fflush(stdout); return spin(seconds(a[1])); }
  if (is(verb, "alloc")) { NEED(1); return alloc(number(a[1]), n > 2 ? seconds(a[2]) : 0); }
  if (is(verb, "stop")) {
    fflush(stdout);
    raise(SIGTSTP);
    puts("continued");
    return 0;
  }
  if (is(verb, "detach")) { NEED(1); return detach(a + 1); }
  if (is(verb, "group")) { NEED(1); return group(a + 1); }
  if (is(verb, "exec")) { NEED(1); become(a + 1); }
  if (is(verb, "alive")) {
    NEED(1);
    return kill((pid_t)number(a[1]), 0) == 0 || errno == EPERM ? 0 : 1;
  }
  if (is(verb, "connect")) { NEED(2); return tcp(a[1], a[2]); }
  if (is(verb, "listen")) { NEED(1); return serve(number(a[1])); }
  if (is(verb, "unix")) { NEED(1); return local(a[1]); }
  if (is(verb, "resolve")) { NEED(1); return resolve(a[1]); }
  misuse("no such command (see the head of probe.c)");
}

int main(int argc, char **argv) {
  int at = 1;
  if (argc < 2) misuse("usage: probe COMMAND [ARG…] [-- COMMAND [ARG…]]… (see the head of probe.c)");
  while (at < argc) {
    int end = at;
    int whole = is(argv[at], "args") || is(argv[at], "exec") || is(argv[at], "detach") || is(argv[at], "group");
    while (end < argc && (whole || end == at || !is(argv[end], "--"))) end++;
    char *rest = argv[end];
    argv[end] = NULL;
    int code = run(end - at, argv + at);
    argv[end] = rest;
    if (code != 0) {
      fflush(stdout);
      return code;
    }
    at = end + 1;
  }
  if (fflush(stdout) != 0 || ferror(stdout)) fail("stdout");
  return 0;
}
