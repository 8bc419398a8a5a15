/* The main target: main -> chain_01 -> ... -> chain_12 -> leaf_heavy (70 % of the CPU time) or leaf_light (30 %).
 *
 * chain burn [MS]        user code, for ever or for MS milliseconds of CPU time
 * chain syscall [MS]     the leaves read /dev/zero, so that the time goes to the kernel under them
 * chain threads          thread "alpha" works all the time, "beta" sleeps as long as it works
 * chain forks MS         two children with one child each; every process works for MS
 * chain distinct         12 levels of one of two functions: 4096 stacks
 *
 * SIGTERM ends each of them. */
#include "common.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define READ_BYTES (64UL * 1024)

/* What one thread needs to know; passed down the chain. */
struct job {
	int syscalls;           /* leaves enter the kernel */
	int duty;               /* sleep as long as worked */
	uint64_t limit_ns;      /* CPU time of this thread, 0 for ever */
	uint64_t random;        /* state of next_slice */
	uint64_t tsc[2];        /* cycles spent in leaf_heavy and leaf_light */
	int zero_fd;
	char *buffer;
};

static inline __attribute__((always_inline)) void read_zeroes(const struct job *job, unsigned long times)
{
	while (times--) {
		long result;

		__asm__ volatile("syscall"
				 : "=a"(result)
				 : "0"(SYS_read), "D"((long)job->zero_fd), "S"(job->buffer), "d"(READ_BYTES)
				 : "rcx", "r11", "memory");
		(void)result;
	}
}

static inline __attribute__((always_inline)) void work(const struct job *job, unsigned long units)
{
	if (job->syscalls)
		read_zeroes(job, units);
	else
		spin_work(units * UNIT);
}

KEEP void leaf_heavy(const struct job *job, unsigned long slice)
{
	FRAME();
	work(job, 7 * slice);
	__asm__ volatile("");
}

KEEP void leaf_light(const struct job *job, unsigned long slice)
{
	FRAME();
	work(job, 3 * slice);
	__asm__ volatile("");
}

static inline uint64_t tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/* Whether the thread has used its time; and the pause of a thread that works half of the time. */
static KEEP int done(const struct job *job, uint64_t *slept_at)
{
	uint64_t used = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	if (job->duty) {
		uint64_t pause = used - *slept_at;
		struct timespec t = { .tv_sec = (time_t)(pause / 1000000000ULL), .tv_nsec = (long)(pause % 1000000000ULL) };

		*slept_at = used;
		nanosleep(&t, NULL);
	}
	return job->limit_ns && used >= job->limit_ns;
}

KEEP void chain_12(struct job *job)
{
	uint64_t slept_at = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	for (unsigned round = 1; !stop_requested; round++) {
		unsigned long slice = next_slice(&job->random);
		uint64_t start = tsc();

		leaf_heavy(job, slice); /* line of the heavy call */
		uint64_t middle = tsc();

		leaf_light(job, slice); /* line of the light call */
		job->tsc[0] += middle - start;
		job->tsc[1] += tsc() - middle;
		if (round % 16 == 0 && (job->limit_ns || job->duty) && done(job, &slept_at))
			break;
	}
}

/* The empty statement after the call keeps it from being the last thing that the function does. */
#define LINK(name, next)              \
	KEEP void name(struct job *job) \
	{                               \
		next(job);              \
		__asm__ volatile("");   \
	}

LINK(chain_11, chain_12)
LINK(chain_10, chain_11)
LINK(chain_09, chain_10)
LINK(chain_08, chain_09)
LINK(chain_07, chain_08)
LINK(chain_06, chain_07)
LINK(chain_05, chain_06)
LINK(chain_04, chain_05)
LINK(chain_03, chain_04)
LINK(chain_02, chain_03)
LINK(chain_01, chain_02)

/* A pair of functions that call each other by the bits of a random number. */
KEEP void turn_right(unsigned bits, unsigned depth);

KEEP void turn_left(unsigned bits, unsigned depth)
{
	FRAME();
	if (depth == 0)
		spin_work(8 * UNIT);
	else if (bits & 1)
		turn_right(bits >> 1, depth - 1);
	else
		turn_left(bits >> 1, depth - 1);
	__asm__ volatile("");
}

KEEP void turn_right(unsigned bits, unsigned depth)
{
	FRAME();
	if (depth == 0)
		spin_work(9 * UNIT);
	else if (bits & 1)
		turn_right(bits >> 1, depth - 1);
	else
		turn_left(bits >> 1, depth - 1);
	__asm__ volatile("");
}

KEEP void *thread_main(void *argument)
{
	struct job *job = argument;
	const char *name = job->duty ? "beta" : "alpha";

	pthread_setname_np(pthread_self(), name);
	chain_01(job);
	printf("thread name=%s cpu_ns=%llu\n", name, (unsigned long long)clock_ns(CLOCK_THREAD_CPUTIME_ID));
	return NULL;
}

static void threads(struct job *job)
{
	struct job jobs[2] = { *job, *job };
	pthread_t ids[2];

	jobs[1].duty = 1;
	jobs[1].random += 99;
	for (int i = 0; i < 2; i++)
		pthread_create(&ids[i], NULL, thread_main, &jobs[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(ids[i], NULL);
}

/* Forks children that fork `levels` - 1 times themselves; each process works and reports for itself. */
static void forks(struct job *job, int children, int levels)
{
	for (int i = 0; i < children && levels > 0; i++) {
		fflush(stdout);
		pid_t pid = fork();

		if (pid == 0) {
			job->random += (uint64_t)getpid();
			forks(job, 1, levels - 1);
			report_process();
			_exit(0);
		}
	}
	chain_01(job);
	while (wait(NULL) > 0)
		;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "burn";
	struct job job = { .random = (uint64_t)getpid() };

	if (argc > 2)
		job.limit_ns = strtoull(argv[2], NULL, 10) * 1000000ULL;
	job.zero_fd = open("/dev/zero", O_RDONLY);
	job.buffer = malloc(READ_BYTES);
	if (job.zero_fd < 0 || !job.buffer)
		return 70;
	announce();
	if (!strcmp(mode, "burn")) {
		chain_01(&job);
	} else if (!strcmp(mode, "syscall")) {
		job.syscalls = 1;
		chain_01(&job);
	} else if (!strcmp(mode, "threads")) {
		threads(&job);
	} else if (!strcmp(mode, "forks")) {
		forks(&job, 2, 2);
	} else if (!strcmp(mode, "distinct")) {
		while (!stop_requested) {
			next_slice(&job.random);
			turn_left((unsigned)(job.random >> 40), 12);
		}
	} else {
		fprintf(stderr, "chain: no mode %s\n", mode);
		return 64;
	}
	if (job.tsc[0])
		printf("leaves heavy_tsc=%llu light_tsc=%llu\n", (unsigned long long)job.tsc[0],
		       (unsigned long long)job.tsc[1]);
	report_process();
	return 0;
}
