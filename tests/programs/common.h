/* What the C and C++ target programs share: work of a known length, a stop flag and the report of CPU time. */
#ifndef PROFILER_TESTS_COMMON_H
#define PROFILER_TESTS_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* No inlining, cloning, renaming or reordering of arguments: the symbol in the profile is the one in the source. */
#define KEEP __attribute__((noinline, noclone))

/* Makes a function set up its frame before anything else. gcc gives a function that calls nothing no frame even with
 * -fno-omit-frame-pointer, and a walk along frame pointers then skips its caller. */
#ifdef OMIT_FRAMES
/* Asking for the frame's address would bring the frame pointer back that the build leaves out. */
#define FRAME() __asm__ volatile("")
#else
#define FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)))
#endif

/* Iterations in one unit of work, about 12 us at 3 GHz. */
#define UNIT 1500UL

static volatile sig_atomic_t stop_requested;

static void on_term(int sig)
{
	(void)sig;
	stop_requested = 1;
}

/* A chain of dependent multiplications: its length in cycles depends on neither alignment nor memory, so that two
 * functions that run it in the ratio 7:3 take CPU time in the ratio 7:3. */
static inline __attribute__((always_inline)) void spin_work(unsigned long iterations)
{
	unsigned long x = 3;

	__asm__ volatile(".p2align 5\n"
			 "1: imul %0, %0\n imul %0, %0\n imul %0, %0\n imul %0, %0\n"
			 "   imul %0, %0\n imul %0, %0\n imul %0, %0\n imul %0, %0\n"
			 "   dec %1\n jnz 1b\n"
			 : "+r"(x), "+r"(iterations)
			 :
			 : "cc");
}

/* A pseudo-random number from 1 to 16. Slices of random length keep the sampling clock from beating with them. */
static inline unsigned long next_slice(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return 1 + (*state >> 60);
}

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static inline uint64_t timeval_ns(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_usec * 1000ULL;
}

/* Stop at SIGTERM and SIGINT, and say so: the harness waits for the line. */
static inline void announce(void)
{
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	printf("ready %d\n", getpid());
	fflush(stdout);
}

/* One line per process at its end: what the kernel says that it used. */
static inline void report_process(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	printf("process pid=%d cpu_ns=%llu user_ns=%llu system_ns=%llu\n", getpid(),
	       (unsigned long long)clock_ns(CLOCK_PROCESS_CPUTIME_ID),
	       (unsigned long long)timeval_ns(usage.ru_utime), (unsigned long long)timeval_ns(usage.ru_stime));
	fflush(stdout);
}

#endif
