/* deep N: main -> down_c or down_a … -> bottom, N levels of three functions in turn whose frames differ: one keeps
 * five registers, one has a large frame, one has a frame of a size that is only known at run time.
 *
 * N counts the frames between main and bottom. */
#include "common.h"

KEEP void bottom(unsigned long units)
{
	spin_work(units * UNIT);
	__asm__ volatile("");
}

KEEP unsigned long down_a(unsigned long depth);
KEEP unsigned long down_b(unsigned long depth);
KEEP unsigned long down_c(unsigned long depth);

static inline __attribute__((always_inline)) unsigned long next(unsigned long depth)
{
	if (depth == 0) {
		bottom(4000); /* Much longer than the way down. */
		return 1;
	}
	switch (depth % 3) {
	case 0:
		return down_a(depth);
	case 1:
		return down_b(depth);
	default:
		return down_c(depth);
	}
}

KEEP unsigned long down_a(unsigned long depth)
{
	register unsigned long a = depth, b = depth + 1, c = depth + 2, d = depth + 3;

	/* Values that live across the call, hence in registers that the function has to save. */
	__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
	unsigned long below = next(depth - 1);

	__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
	return below + (a ^ b ^ c ^ d);
}

KEEP unsigned long down_b(unsigned long depth)
{
	char space[400];

	__asm__ volatile("" : : "r"(space) : "memory");
	unsigned long below = next(depth - 1);

	__asm__ volatile("" : : "r"(space) : "memory");
	return below;
}

KEEP unsigned long down_c(unsigned long depth)
{
	char space[16 + depth % 64];

	__asm__ volatile("" : : "r"(space) : "memory");
	unsigned long below = next(depth - 1);

	__asm__ volatile("" : : "r"(space) : "memory");
	return below;
}

int main(int argc, char **argv)
{
	unsigned long depth = argc > 1 ? strtoul(argv[1], NULL, 10) : 100, sum = 0;

	announce();
	while (!stop_requested)
		sum += next(depth);
	report_process();
	return sum == 42;
}
