/*
 * painter: the smallest X client that paints. Without any library, so that it runs in an image with nothing in it.
 * It knows the display by DISPLAY and the authority by XAUTHORITY alone, as X(7) and XauFileName(3) have it.
 *
 *   painter RRGGBB X Y     a window of 40x40 pixels of that colour at X,Y; says `drawn` when the server has done it,
 *                          and leaves it there until its standard input ends
 *   painter spy            asks for the contents of the whole screen, which an untrusted client may not have
 *
 * Status 1: the server, or the connection to it, refused; the reason is on the standard error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FAMILY_LOCAL 256
#define X_TCP_PORT 6000
#define COOKIE "MIT-MAGIC-COOKIE-1"

static int display;
static int server;

static void fail(const char *what)
{
	fprintf(stderr, "painter: %s\n", what);
	exit(1);
}

/* ---- the authority file ---- */

struct text {
	unsigned length;
	unsigned char bytes[65536];
};

static int read_number(FILE *file, unsigned *number)
{
	int high = getc(file), low = getc(file);

	*number = (unsigned)(high << 8 | low);
	return low != EOF;
}

static int read_text(FILE *file, struct text *text)
{
	return read_number(file, &text->length) && fread(text->bytes, 1, text->length, file) == text->length;
}

static int is(const struct text *text, const char *wanted)
{
	return text->length == strlen(wanted) && memcmp(text->bytes, wanted, text->length) == 0;
}

/* The cookie for this host's display, in `data`; its length is 0 where there is none. */
static void find_cookie(struct text *data)
{
	static struct text address, number, name;
	const char *path = getenv("XAUTHORITY");
	FILE *file = path ? fopen(path, "rb") : NULL;
	struct utsname host;
	char wanted[16];
	unsigned family;

	snprintf(wanted, sizeof wanted, "%d", display);
	uname(&host);
	while (file && read_number(file, &family) && read_text(file, &address) && read_text(file, &number) &&
	       read_text(file, &name) && read_text(file, data))
		if (family == FAMILY_LOCAL && is(&address, host.nodename) && is(&number, wanted) && is(&name, COOKIE))
			return;
	data->length = 0;
}

/* ---- the connection ---- */

static void connect_display(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	const char *name = getenv("DISPLAY");

	if (!name || sscanf(name, "localhost:%d", &display) != 1)
		fail("DISPLAY is not localhost:NUMBER");
	to.sin_port = htons((uint16_t)(X_TCP_PORT + display));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(server, (struct sockaddr *)&to, sizeof to) < 0)
		fail("cannot connect to the display");
}

static void put(const void *data, size_t length)
{
	if (write(server, data, length) != (ssize_t)length)
		fail("the connection broke");
}

static void get(void *data, size_t length)
{
	for (size_t got = 0; got < length; ) {
		ssize_t more = read(server, (char *)data + got, length - got);

		if (more <= 0)
			fail("the server hung up");
		got += (size_t)more;
	}
}

static size_t padded(size_t length)
{
	return (length + 3) & ~(size_t)3;
}

static uint16_t of2(const unsigned char *at)
{
	uint16_t number;

	memcpy(&number, at, sizeof number);
	return number;
}

static uint32_t of4(const unsigned char *at)
{
	uint32_t number;

	memcpy(&number, at, sizeof number);
	return number;
}

/* X11 protocol, chapter 8: connection setup. Numbers are in this machine's order. */
struct screen {
	uint32_t ids, root;
	uint16_t width, height;
};

static struct screen set_up(void)
{
	static struct text cookie;
	static unsigned char request[12 + 20 + 65536], reply[4 * 65536];
	uint16_t one = 1;
	size_t name;

	find_cookie(&cookie);
	name = cookie.length ? strlen(COOKIE) : 0;
	request[0] = *(char *)&one ? 'l' : 'B';
	memcpy(request + 2, &(uint16_t){ 11 }, 2);
	memcpy(request + 6, &(uint16_t){ (uint16_t)name }, 2);
	memcpy(request + 8, &(uint16_t){ (uint16_t)cookie.length }, 2);
	memcpy(request + 12, COOKIE, name);
	memcpy(request + 12 + padded(name), cookie.bytes, cookie.length);
	put(request, 12 + padded(name) + padded(cookie.length));
	get(reply, 8);
	get(reply + 8, 4 * (size_t)of2(reply + 6));
	if (reply[0] != 1) {
		fprintf(stderr, "painter: refused: %.*s\n", reply[1], (char *)reply + 8);
		exit(1);
	}
	/* Behind the vendor's name and the formats of pixmaps. */
	unsigned char *root = reply + 40 + padded(of2(reply + 24)) + 8 * (size_t)reply[29];

	return (struct screen){ of4(reply + 12), of4(root), of2(root + 20), of2(root + 22) };
}

/* Until a reply; events are passed over. */
static unsigned reply_length(void)
{
	unsigned char answer[32];

	do {
		get(answer, sizeof answer);
		if (answer[0] == 0) {
			fprintf(stderr, "painter: error %d of request %d\n", answer[1], answer[10]);
			exit(1);
		}
	} while (answer[0] != 1);
	return of4(answer + 4);
}

static void paint(const struct screen *screen, uint32_t colour, int x, int y)
{
	uint32_t window = screen->ids | 1;
	/* CreateWindow with a background pixel and override-redirect (no window manager is asked), MapWindow, GetInputFocus */
	uint32_t create[10] = { 1 | 10 << 16, window, screen->root, (uint32_t)(x | y << 16), 40 | 40 << 16, 1 << 16, 0,
		1 << 1 | 1 << 9, colour, 1 };
	uint32_t map[2] = { 8 | 2 << 16, window };
	uint32_t focus = 43 | 1 << 16;
	char byte;

	put(create, sizeof create);
	put(map, sizeof map);
	put(&focus, sizeof focus);
	reply_length();
	puts("drawn");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
}

/* GetImage of the root window. */
static void spy(const struct screen *screen)
{
	uint32_t image[5] = { 73 | 2 << 8 | 5 << 16, screen->root, 0,
		(uint32_t)(screen->width | screen->height << 16), 0xffffffff };

	put(image, sizeof image);
	printf("%u bytes\n", 4 * reply_length());
}

int main(int argc, char **argv)
{
	uint16_t one = 1;

	if (!*(char *)&one)
		fail("made for machines with the low byte first");
	if (argc != 2 && argc != 4)
		fail("painter RRGGBB X Y | painter spy");
	connect_display();
	struct screen screen = set_up();

	if (argc == 2)
		spy(&screen);
	else
		paint(&screen, (uint32_t)strtoul(argv[1], NULL, 16), atoi(argv[2]), atoi(argv[3]));
	return 0;
}
