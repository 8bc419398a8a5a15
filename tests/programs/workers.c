/* workers RATE: RATE threads per second, each of which works for about a millisecond in
 *
 *     worker -> worker_middle -> worker_leaf
 *
 * and ends. The report says how many there were. */
#include "common.h"

#include <pthread.h>

KEEP void worker_leaf(unsigned long units)
{
	spin_work(units * UNIT);
	__asm__ volatile("");
}

KEEP void worker_middle(uint64_t *random)
{
	for (int i = 0; i < 5; i++)
		worker_leaf(2 * next_slice(random));
}

KEEP void *worker(void *random)
{
	worker_middle(random);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long rate = argc > 1 ? strtoul(argv[1], NULL, 10) : 500, count = 0;
	uint64_t random = 1, start;

	announce();
	start = clock_ns(CLOCK_MONOTONIC);
	while (!stop_requested) {
		pthread_t thread;
		uint64_t due = start + ++count * 1000000000ULL / rate, now;

		if (pthread_create(&thread, NULL, worker, &random))
			return 71;
		pthread_join(thread, NULL);
		now = clock_ns(CLOCK_MONOTONIC);
		if (now < due) {
			struct timespec pause = { .tv_nsec = (long)(due - now) };

			nanosleep(&pause, NULL);
		}
	}
	printf("threads count=%lu ns=%llu\n", count, (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - start));
	report_process();
	return 0;
}
