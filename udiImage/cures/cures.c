/*
 * Linked into every glibc program of the tree: makes it deaf to the image.
 *
 * A static glibc still loads NSS modules: those of the image, made for another
 * C library, where its nsswitch.conf names one. That ends in SIGFPE. And
 * libcrypto reads a configuration (OPENSSL_CONF of the job's environment) that
 * may ask for providers which are not there. Both are settled here, before
 * main(), so that the image's own files can stay as they are for its own
 * programs.
 */
#include <stddef.h>
#include <stdint.h>

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
