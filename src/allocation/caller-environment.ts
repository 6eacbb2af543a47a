import { isWithheld, type Variable } from "./environment.ts";

/** What glibc takes out of the environment of setuid programs (sysdeps/generic/unsecvars.h): Shifter is one. */
const UNSECURE =
  /^(LD_.*|RTLD_.*|GCONV_PATH|GETCONF_DIR|GLIBC_TUNABLES|HOSTALIASES|LOCALDOMAIN|LOCPATH|MALLOC_.*|NIS_PATH|NLSPATH|RESOLV_HOST_CONF|RES_OPTIONS|TMPDIR|TZDIR)$/;

/** What names sockets, displays, terminals and engines of this host, or a process manager that is not in the container. */
const OF_THIS_HOST =
  /^(SSH_.*|XDG_(RUNTIME_DIR|SESSION_.*|SEAT|VTNR)|DBUS_.*|GPG_AGENT_INFO|DISPLAY|XAUTHORITY|WAYLAND_DISPLAY|TMUX.*|STY|DOCKER_.*|CONTAINER_HOST|INVOCATION_ID|JOURNAL_STREAM|NOTIFY_SOCKET|PMI_.*|PMI2_.*|PMIX_.*|FLUX_.*|OMPI_.*|PRTE_.*|HYDRA_.*|_)$/;

/** What is told to the job anew, and our own settings. */
const OURS = /^(GANGWAY_.*|SHIFTER(_.*)?|SLURM_SPANK_.*)$/;

/**
 * Of the caller's own environment what a job can do something with, as Shifter hands it on: not what the linker takes from
 * setuid programs, nor what names things of this host, and nothing that by its name is a secret (engines keep environments
 * on disk).
 */
export function callerEnvironment(env: Readonly<Record<string, string | undefined>>): Variable[] {
  return Object.entries(env).flatMap(([name, value]): Variable[] => {
    const left = UNSECURE.test(name) || OF_THIS_HOST.test(name) || OURS.test(name) || isWithheld(name);
    return value === undefined || left ? [] : [[name, value]];
  });
}
