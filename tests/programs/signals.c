/* A handler that runs on an alternate stack, about a thousand times a second, and that interrupts the chain
 *
 *     main -> outer -> middle -> inner
 *
 * signals timer   wherever it is, at any instruction, by a timer
 * signals raise   in libc's raise, called by inner */
#include "common.h"

#include <string.h>
#include <sys/time.h>

#define STACK_BYTES (64UL * 1024)

static int raises;

KEEP void handler_leaf(void)
{
	spin_work(40 * UNIT);
	__asm__ volatile("");
}

KEEP void handler(int sig)
{
	(void)sig;
	handler_leaf();
	__asm__ volatile("");
}

KEEP void inner(void)
{
	spin_work(20 * UNIT);
	if (raises)
		raise(SIGALRM);
	__asm__ volatile("");
}

/* A frame of a size that is only known at run time is found by its frame pointer, whatever the flags say. */
KEEP void middle(unsigned long bytes)
{
	char space[bytes];

	__asm__ volatile("" : : "r"(space) : "memory");
	inner();
	__asm__ volatile("" : : "r"(space) : "memory");
}

KEEP void outer(uint64_t *random)
{
	middle(16 * next_slice(random));
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	stack_t stack = { .ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART };
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } };
	uint64_t random = 1;

	if (!stack.ss_sp || sigaltstack(&stack, NULL) || sigaction(SIGALRM, &action, NULL))
		return 70;
	raises = argc > 1 && !strcmp(argv[1], "raise");
	announce();
	if (!raises && setitimer(ITIMER_REAL, &every, NULL))
		return 70;
	while (!stop_requested)
		outer(&random);
	report_process();
	return 0;
}
