/* filled BYTES: works for a moment below a variable of so many bytes, all of which it has written to:
 * main -> filled -> filled_leaf. Copies of a stack have some fixed sizes; this makes stacks around them. */
#include "common.h"

#include <string.h>

KEEP void filled_leaf(unsigned long units)
{
	FRAME();
	spin_work(units * UNIT);
	__asm__ volatile("");
}

KEEP void filled(unsigned long bytes)
{
	char space[bytes];

	memset(space, 1, bytes);
	__asm__ volatile("" : : "r"(space) : "memory");
	filled_leaf(1000);
	__asm__ volatile("" : : "r"(space) : "memory");
}

int main(int argc, char **argv)
{
	filled(argc > 1 ? strtoul(argv[1], NULL, 10) : 1);
	return 0;
}
