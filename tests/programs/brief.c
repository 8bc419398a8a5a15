/* A program that lives for a few milliseconds, and the program that starts it again and again.
 *
 * brief live MS               lives for MS milliseconds and works half of the time: main -> brief_work -> brief_leaf
 * brief spawn COUNT SECONDS PROGRAM…
 *                             starts COUNT processes over SECONDS, `PROGRAM live 5` to `PROGRAM live 20`, the programs
 *                             in turn, at most eight at a time, and reports the CPU time that the kernel accounted to
 *                             them */
#include "common.h"

#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#define MOST_AT_A_TIME 8

extern char **environ;

KEEP void brief_leaf(unsigned long units)
{
	spin_work(units * UNIT);
	__asm__ volatile("");
}

/* Works in pieces of half a millisecond and sleeps as long as it worked. */
KEEP void brief_work(uint64_t ns)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ns;

	while (clock_ns(CLOCK_MONOTONIC) < until) {
		uint64_t worked = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
		struct timespec pause = { 0, 0 };

		brief_leaf(40);
		pause.tv_nsec = (long)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - worked);
		nanosleep(&pause, NULL);
	}
}

static uint64_t reap(int options, unsigned *alive)
{
	struct rusage usage;
	int status;
	pid_t pid = wait4(-1, &status, options, &usage);

	if (pid <= 0)
		return 0;
	if (status)
		exit(72);
	--*alive;
	return timeval_ns(usage.ru_utime) + timeval_ns(usage.ru_stime);
}

KEEP void spawn_all(unsigned long count, uint64_t ns, int programs, char **program)
{
	uint64_t random = 1, cpu_ns = 0, start = clock_ns(CLOCK_MONOTONIC);
	unsigned alive = 0;

	for (unsigned long i = 0; i < count && !stop_requested; i++) {
		uint64_t due = start + i * (ns / count), now = clock_ns(CLOCK_MONOTONIC);
		char ms[8];
		char *argv[] = { program[i % (unsigned long)programs], "live", ms, NULL };
		pid_t pid;

		if (now < due) {
			struct timespec pause = { .tv_sec = (time_t)((due - now) / 1000000000ULL),
						  .tv_nsec = (long)((due - now) % 1000000000ULL) };

			nanosleep(&pause, NULL);
		}
		/* 16 lengths from 5 to 20 ms. */
		snprintf(ms, sizeof(ms), "%lu", 4 + next_slice(&random));
		if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ))
			exit(71);
		alive++;
		for (unsigned before = alive + 1; alive && alive < before;) {
			before = alive;
			cpu_ns += reap(WNOHANG, &alive);
		}
		while (alive >= MOST_AT_A_TIME)
			cpu_ns += reap(0, &alive);
	}
	while (alive)
		cpu_ns += reap(0, &alive);
	printf("spawned count=%lu cpu_ns=%llu ns=%llu\n", count, (unsigned long long)cpu_ns,
	       (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - start));
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "live")) {
		brief_work(strtoull(argv[2], NULL, 10) * 1000000ULL);
		return 0;
	}
	if (argc < 5 || strcmp(argv[1], "spawn"))
		return 64;
	announce();
	spawn_all(strtoul(argv[2], NULL, 10), strtoull(argv[3], NULL, 10) * 1000000000ULL, argc - 4, argv + 4);
	return 0;
}
