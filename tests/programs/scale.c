/* Much of everything: processes, mappings, stacks.
 *
 * scale crowd COUNT PROGRAM…  starts COUNT processes, `PROGRAM part`, the programs in turn, and ends them at its own end
 * scale part                  works for a millisecond each second: main -> part_work -> part_leaf
 * scale lines COUNT           has COUNT mappings, half of them generated code, and runs one after the other
 * scale stacks                main -> stack_left or stack_right, 24 times in any order -> stack_leaf: hardly ever the same
 *                             stack twice */
#include "common.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PAGE 4096UL
#define LEVELS 24

KEEP void part_leaf(void)
{
	spin_work(80 * UNIT);
	__asm__ volatile("");
}

KEEP void part_work(void)
{
	struct timespec pause = { 1, 0 };

	part_leaf();
	nanosleep(&pause, NULL);
}

static int crowd(unsigned long count, int programs, char **program)
{
	pid_t *pids = calloc(count, sizeof(*pids));

	if (!pids)
		return 71;
	for (unsigned long i = 0; i < count; i++) {
		/* Not all at the same time. */
		struct timespec pause = { 0, 1000000 };

		nanosleep(&pause, NULL);
		pids[i] = fork();
		if (pids[i] < 0)
			return 71;
		if (!pids[i]) {
			char *path = program[i % (unsigned long)programs];

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			execl(path, path, "part", NULL);
			_exit(71);
		}
	}
	announce();
	while (!stop_requested)
		pause();
	for (unsigned long i = 0; i < count; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}

/* A function with a frame, as runtimes generate them: it runs wherever it is copied to. */
__asm__(".pushsection .text\n"
	"lines_code: push %rbp\n mov %rsp, %rbp\n mov $3, %eax\n"
	"1: imul %rax, %rax\n imul %rax, %rax\n imul %rax, %rax\n imul %rax, %rax\n"
	"   dec %rdi\n jnz 1b\n"
	"   pop %rbp\n ret\n"
	"lines_code_end: nop\n"
	".popsection\n");
extern const char lines_code[], lines_code_end[];

KEEP void lines_work(char *code, unsigned long count, uint64_t *random)
{
	while (!stop_requested) {
		unsigned long number = (next_slice(random), *random >> 33) % count;

		((void (*)(unsigned long))(code + 2 * number * PAGE))(80 * UNIT);
	}
}

/* Every other page of a large area can be executed, and each page is a mapping. */
static int lines(unsigned long count)
{
	uint64_t random = 1;
	char *code = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		return 71;
	for (unsigned long i = 0; i + 1 < count; i += 2) {
		memcpy(code + i * PAGE, lines_code, (size_t)(lines_code_end - lines_code));
		if (mprotect(code + i * PAGE, PAGE, PROT_READ | PROT_EXEC))
			return 72;
	}
	announce();
	lines_work(code, count / 2, &random);
	return 0;
}

KEEP void stack_leaf(void)
{
	spin_work(UNIT);
	__asm__ volatile("");
}

KEEP void stack_left(unsigned level, uint64_t turns);

KEEP void stack_right(unsigned level, uint64_t turns)
{
	if (!level)
		stack_leaf();
	else if (turns & 1)
		stack_left(level - 1, turns >> 1);
	else
		stack_right(level - 1, turns >> 1);
	__asm__ volatile("" : : "r"(level));
}

KEEP void stack_left(unsigned level, uint64_t turns)
{
	if (!level)
		stack_leaf();
	else if (turns & 1)
		stack_right(level - 1, turns >> 1);
	else
		stack_left(level - 1, turns >> 1);
	__asm__ volatile("" : : "r"(turns));
}

int main(int argc, char **argv)
{
	uint64_t random = 1;

	if (argc == 2 && !strcmp(argv[1], "part"))
		for (;;)
			part_work();
	if (argc > 3 && !strcmp(argv[1], "crowd"))
		return crowd(strtoul(argv[2], NULL, 10), argc - 3, argv + 3);
	if (argc == 3 && !strcmp(argv[1], "lines"))
		return lines(strtoul(argv[2], NULL, 10));
	if (argc != 2 || strcmp(argv[1], "stacks"))
		return 64;
	announce();
	while (!stop_requested) {
		next_slice(&random);
		stack_left(LEVELS, random >> 33);
	}
	return 0;
}
