/*
 * Linked into every glibc program of the tree: makes it deaf to the image.
 *
 * A static glibc still loads NSS modules: those of the image, made for another
 * C library, where its nsswitch.conf names one. That ends in SIGFPE. And
 * libcrypto reads a configuration (OPENSSL_CONF of the job's environment) that
 * may ask for providers which are not there. Both are settled here, before
 * main(), so that the image's own files can stay as they are for its own
 * programs.
 *
 * Nor need the image have an account for who runs them: a user without one is
 * answered for from the process itself, as far as there is anything to tell.
 */
#include <pwd.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern int __nss_configure_lookup(const char *database, const char *service);

/* Weak: a program without libcrypto must not get it by this. */
extern int OPENSSL_init_crypto(uint64_t options, const void *settings)
    __attribute__((weak));
#define INIT_NO_LOAD_CONFIG 0x00000080L

__attribute__((constructor)) static void
gangway_cures(void)
{
	static const char *const files[] = {
		"passwd", "group", "shadow", "gshadow", "initgroups",
		"services", "networks", "protocols", "rpc", "ethers",
		"netgroup", "aliases", "publickey"
	};
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		(void)__nss_configure_lookup(files[i], "files");
	(void)__nss_configure_lookup("hosts", "files dns");
	if (OPENSSL_init_crypto != NULL)
		(void)OPENSSL_init_crypto(INIT_NO_LOAD_CONFIG, NULL);
}

/*
 * Set for an sshd in a container that is not a job's (patch own-rights): the
 * shell of the one account that it shall know, by this name, whatever the
 * container's own files say of it.
 */
#define ACCOUNT_ENV "GANGWAY_ACCOUNT"
static char account_name[] = "gangway";

static struct passwd *
this_process(char *name, char *shell)
{
	static struct passwd pw;
	static char none[] = "x", nothing[] = "", root[] = "/";
	char *home = getenv("HOME");

	memset(&pw, 0, sizeof(pw));
	pw.pw_name = name;
	pw.pw_passwd = none;
	pw.pw_uid = getuid();
	pw.pw_gid = getgid();
	pw.pw_gecos = nothing;
	pw.pw_dir = home != NULL && *home == '/' ? home : root;
	pw.pw_shell = shell;
	return &pw;
}

/* What getpwnam(3) and getpwuid(3) of the library do, which these stand for. */
static struct passwd entry;
static char entry_text[4096];

struct passwd *
getpwnam(const char *name)
{
	char *shell = getenv(ACCOUNT_ENV);
	struct passwd *found;

	if (shell != NULL)
		return strcmp(name, account_name) == 0 ? this_process(account_name, shell) : NULL;
	return getpwnam_r(name, &entry, entry_text, sizeof(entry_text), &found) == 0 ?
	    found : NULL;
}

struct passwd *
getpwuid(uid_t uid)
{
	static char shell[] = "/bin/sh";
	char *given = getenv(ACCOUNT_ENV), *name = getenv("USER");
	struct passwd *found;

	if (given != NULL)
		return uid == getuid() ? this_process(account_name, given) : NULL;
	if (getpwuid_r(uid, &entry, entry_text, sizeof(entry_text), &found) == 0 &&
	    found != NULL)
		return found;
	if (uid != getuid())
		return NULL;
	return this_process(name != NULL && *name != '\0' ? name : account_name, shell);
}
