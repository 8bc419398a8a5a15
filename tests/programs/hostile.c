/* Processes that make trouble for who looks at them. Each also works in `leaf_heavy`, so that it is sampled.
 *
 *   remap          writes code to new memory, calls it and unmaps it, a thousand times a second and more
 *   cut LIBRARY N  calls `work` in a library, and cuts its file to N bytes and restores it all the time
 *   name           calls itself and its thread something with a line feed and terminal escapes
 *   bomb           forks until it may not, and so do its children, for two seconds
 */
#include "common.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

KEEP void leaf_heavy(unsigned long units)
{
	FRAME();
	spin_work(units * UNIT);
}

static void remap(void)
{
	static const unsigned char code[] = { 0xc3 };
	size_t size = 1;

	while (!stop_requested) {
		size = size % 64 + 1;
		unsigned char *area = mmap(NULL, size * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (area == MAP_FAILED)
			exit(71);
		memcpy(area, code, sizeof code);
		if (mprotect(area, size * 4096, PROT_READ | PROT_EXEC))
			exit(72);
		((void (*)(void))area)();
		leaf_heavy(20);
		munmap(area, size * 4096);
	}
}

struct file {
	int fd;
	char *content;
	off_t all, kept;
};

static void *cut(void *argument)
{
	struct file *file = argument;

	while (!stop_requested) {
		if (ftruncate(file->fd, file->kept))
			exit(73);
		usleep(300);
		if (pwrite(file->fd, file->content + file->kept, file->all - file->kept, file->kept) < 0)
			exit(74);
		usleep(300);
	}
	return NULL;
}

static void cut_library(const char *path, off_t kept)
{
	void *library = dlopen(path, RTLD_NOW);
	struct stat stat;
	struct file file = { .fd = open(path, O_RDWR), .kept = kept };
	pthread_t thread;

	if (!library || file.fd < 0 || fstat(file.fd, &stat))
		exit(75);
	void (*work)(void) = (void (*)(void))dlsym(library, "work");

	if (!work)
		exit(76);
	file.all = stat.st_size;
	file.content = malloc(file.all);
	if (!file.content || pread(file.fd, file.content, file.all, 0) != file.all)
		exit(77);
	pthread_create(&thread, NULL, cut, &file);
	while (!stop_requested)
		work();
	pthread_join(thread, NULL);
}

static void bomb(void)
{
	struct timespec now, begin;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		/* A child goes on as its parent does; where there may be no more of them, both go on. */
		if (fork() == 0)
			setpgid(0, 0);
		leaf_heavy(1);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec < 2);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	signal(SIGTERM, on_term);
	printf("ready\n");
	fflush(stdout);
	if (!strcmp(mode, "remap")) {
		remap();
	} else if (!strcmp(mode, "cut") && argc > 3) {
		cut_library(argv[2], atol(argv[3]));
	} else if (!strcmp(mode, "bomb")) {
		bomb();
	} else if (!strcmp(mode, "name")) {
		prctl(PR_SET_NAME, "a\nb\033[31m/../");
		while (!stop_requested)
			leaf_heavy(1000);
	} else {
		return 64;
	}
	return 0;
}
