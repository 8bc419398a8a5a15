/* Stacks of every kind, for an architecture that is emulated: nothing in here is measured, and where a stack is recorded is
 * a breakpoint.
 *
 *     main -> outer -> middle -> inner -> leaf
 *
 * frames              as it is
 * frames thread       in a thread
 * frames signal       in a signal's handler on an alternate stack, which interrupts inner
 * frames generated    with two functions of generated code between middle and inner (aarch64)
 * frames wide         with 100 KiB of variables in middle */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KEEP __attribute__((noinline, noclone))
#define STACK_BYTES (64UL * 1024)

/* What keeps a call from being the last thing that a function does. */
#define END() __asm__ volatile("" : : : "memory")

typedef void step(void);

static const char *mode;

KEEP unsigned long leaf(unsigned long number)
{
	number *= 3;
	__asm__ volatile("" : "+r"(number));
	return number + 1;
}

KEEP void handler(int sig)
{
	leaf((unsigned long)sig);
	END();
}

KEEP void inner(void)
{
	if (!strcmp(mode, "signal"))
		raise(SIGUSR1);
	else
		leaf(7);
	END();
}

/* Calls x0 and returns, with a frame record. */
static const unsigned CODE[] = {
	0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
	0x910003fd, /* mov x29, sp */
	0xaa0003e2, /* mov x2, x0 */
	0xaa0103e0, /* mov x0, x1 */
	0xd63f0040, /* blr x2 */
	0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
	0xd65f03c0, /* ret */
};

KEEP void generated(void)
{
	char *area = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		exit(70);
	memcpy(area + 256, CODE, sizeof(CODE));
	__builtin___clear_cache(area + 256, area + 256 + sizeof(CODE));
	/* The code calls itself, and then inner. */
	((void (*)(void *, step *))(void *)(area + 256))(area + 256, inner);
	END();
}

KEEP void wide(void)
{
	char variables[100 << 10];

	memset(variables, 1, sizeof(variables));
	__asm__ volatile("" : : "r"(variables) : "memory");
	inner();
	__asm__ volatile("" : : "r"(variables) : "memory");
}

KEEP void middle(void)
{
	if (!strcmp(mode, "generated"))
		generated();
	else if (!strcmp(mode, "wide"))
		wide();
	else
		inner();
	END();
}

KEEP void outer(void)
{
	middle();
	END();
}

KEEP void *thread_main(void *argument)
{
	outer();
	END();
	return argument;
}

int main(int argc, char **argv)
{
	stack_t stack = { .ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	pthread_t thread;

	mode = argc > 1 ? argv[1] : "";
	if (!stack.ss_sp || sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL))
		return 70;
	if (strcmp(mode, "thread"))
		outer();
	else if (pthread_create(&thread, NULL, thread_main, NULL) || pthread_join(thread, NULL))
		return 71;
	return 0;
}
