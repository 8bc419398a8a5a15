/* Leaves in libc, and callbacks out of it:
 *
 * calls copy   copy_step -> memcpy
 * calls plt    plt_step -> a procedure linkage table entry -> labs, by a call that waits for memory
 * calls sort   sort_step -> qsort -> qsort's own recursion -> compare -> compare_leaf */
#include "common.h"

#include <string.h>

#define COPY_BYTES (256UL * 1024)
#define ITEMS 256

KEEP void copy_step(char *to, const char *from)
{
	memcpy(to, from, COPY_BYTES);
	__asm__ volatile("" : : "r"(to) : "memory");
}

/* Where the entry's address is kept, in a cache line of its own. */
static struct {
	long (*call)(long);
} entry __attribute__((aligned(64)));

static void find_entry(void)
{
#ifdef __x86_64__
	__asm__ volatile("leaq labs@plt(%%rip), %0" : "=r"(entry.call));
#else
	entry.call = labs;
#endif
}

KEEP long plt_step(long turns)
{
	long sum = 0;

	for (long i = 0; i < turns; i++) {
#ifdef __x86_64__
		/* The entry is one jump, which some processors are hardly ever interrupted at. One that was interrupted while
		 * the call waited for its target is at the entry. */
		__builtin_ia32_clflush(&entry);
#endif
		sum += entry.call(i - sum);
	}
	return sum;
}

KEEP void compare_leaf(void)
{
	spin_work(UNIT / 10);
	__asm__ volatile("");
}

KEEP int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	compare_leaf();
	return (x > y) - (x < y);
}

KEEP void sort_step(int *items)
{
	uint64_t random = (uint64_t)items[0] + 1;

	for (int i = 0; i < ITEMS; i++) {
		next_slice(&random);
		items[i] = (int)(random >> 33);
	}
	qsort(items, ITEMS, sizeof(*items), compare);
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "copy";
	char *from = calloc(1, COPY_BYTES), *to = calloc(1, COPY_BYTES);
	int items[ITEMS] = { 0 };
	int copies = !strcmp(mode, "copy"), sorts = !strcmp(mode, "sort");
	long sum = 0;

	if (!from || !to)
		return 70;
	memset(from, 1, COPY_BYTES);
	find_entry();
	announce();
	while (!stop_requested) {
		if (copies)
			copy_step(to, from);
		else if (sorts)
			sort_step(items);
		else
			sum += plt_step(10000);
	}
	report_process();
	return sum == 42;
}
