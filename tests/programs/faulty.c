/* Preloaded into the agent. SHORT_READS: each read of a file gives 2000 bytes at the most, as read(2) may. CLOCK_FILE: the wall
 * clock is wrong by the number of seconds in that file, which may change at any time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST 2000

static size_t shorter(int fd, size_t size)
{
	struct stat stat;

	/* What is no file, such as an eventfd, gives all or nothing. */
	if (size <= MOST || !getenv("SHORT_READS") || fstat(fd, &stat) || !S_ISREG(stat.st_mode))
		return size;
	return MOST;
}

ssize_t read(int fd, void *buffer, size_t size)
{
	return syscall(SYS_read, fd, buffer, shorter(fd, size));
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset)
{
	return syscall(SYS_pread64, fd, buffer, shorter(fd, size), offset);
}

ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
	return pread64(fd, buffer, size, offset);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	long result = syscall(SYS_clock_gettime, clock, now);
	const char *path = getenv("CLOCK_FILE");

	if (result == 0 && clock == CLOCK_REALTIME && path) {
		char text[32] = { 0 };
		long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && syscall(SYS_read, fd, text, sizeof text - 1) > 0)
			now->tv_sec += atol(text);
		if (fd >= 0)
			syscall(SYS_close, fd);
	}
	return (int)result;
}
