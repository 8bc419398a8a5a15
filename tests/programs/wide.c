/* wide MS: works for MS milliseconds under a function with 700 KiB of variables, on a stack that ends in the middle of other
 * memory, and ends:
 *
 *     wide -> wide_middle -> wide_leaf */
#include "common.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define STACK_BYTES (4UL << 20)

KEEP void wide_leaf(void)
{
	spin_work(20 * UNIT);
	__asm__ volatile("");
}

KEEP void wide_middle(uint64_t ns)
{
	uint64_t until = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + ns;

	while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < until)
		wide_leaf();
	__asm__ volatile("");
}

KEEP void *wide(void *ns)
{
	char variables[700 << 10];

	memset(variables, 1, sizeof(variables));
	__asm__ volatile("" : : "r"(variables) : "memory");
	wide_middle(*(uint64_t *)ns);
	__asm__ volatile("" : : "r"(variables) : "memory");
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t ns = (argc > 1 ? strtoull(argv[1], NULL, 10) : 20) * 1000000ULL;
	pthread_attr_t attributes;
	pthread_t thread;
	/* As much memory again lies behind it. */
	char *memory = mmap(NULL, 2 * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return 71;
	memset(memory + STACK_BYTES, 1, STACK_BYTES);
	pthread_attr_init(&attributes);
	pthread_attr_setstack(&attributes, memory, STACK_BYTES);
	if (pthread_create(&thread, &attributes, wide, &ns) || pthread_join(thread, NULL))
		return 71;
	return 0;
}
