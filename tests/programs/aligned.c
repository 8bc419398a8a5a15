/* main -> aligned_outer -> aligned_inner -> aligned_leaf. The two in the middle keep a variable that has to lie at a
 * multiple of 64, so they move their stack pointer there, and where their frame began is only to be had from a word in
 * it: CFA = *(rbp - 8). */
#include "common.h"

KEEP void aligned_leaf(void)
{
	spin_work(10 * UNIT);
	__asm__ volatile("");
}

/* What else is in the frame has a size that is only known at run time: without it, gcc finds the frame by rbp alone. */
#define ALIGNED(name, next)                                             \
	KEEP void name(unsigned long bytes)                             \
	{                                                               \
		char space[64] __attribute__((aligned(64)));            \
		char more[bytes];                                       \
									\
		__asm__ volatile("" : : "r"(space), "r"(more) : "memory"); \
		next;                                                   \
		__asm__ volatile("" : : "r"(space), "r"(more) : "memory"); \
	}

ALIGNED(aligned_inner, aligned_leaf())
ALIGNED(aligned_outer, aligned_inner(bytes))

int main(void)
{
	uint64_t random = 1;

	announce();
	while (!stop_requested)
		aligned_outer(16 * next_slice(&random));
	report_process();
	return 0;
}
