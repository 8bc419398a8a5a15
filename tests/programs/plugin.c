/* A library that plugins.c loads and unloads. NAME tells one from another, and PADDING moves its code, so that tables
 * that were made for one library are wrong for the next one at the same address. */
#include "common.h"

#define PASTE(a, b) a##b
#define NAMED(a, b) PASTE(a, b)

/* Code that never runs. */
__attribute__((used)) static void padding(void)
{
	__asm__ volatile(".skip " PADDING ", 0x90");
}

KEEP __attribute__((visibility("hidden"))) void NAMED(plugin_leaf_, NAME)(unsigned long units)
{
	spin_work(units * UNIT);
	__asm__ volatile("");
}

KEEP __attribute__((visibility("hidden"))) void NAMED(plugin_middle_, NAME)(unsigned long units)
{
	char space[FRAME_BYTES];

	__asm__ volatile("" : : "r"(space) : "memory");
	NAMED(plugin_leaf_, NAME)(units);
	__asm__ volatile("" : : "r"(space) : "memory");
}

/* Works until the time `until` of the calling thread's CPU clock. */
void plugin_run(uint64_t until)
{
	while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < until)
		NAMED(plugin_middle_, NAME)(20);
}
