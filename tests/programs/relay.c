/* Processes that change under the profiler's eyes. Each of them works in
 *
 *     main -> run -> stage -> stage_leaf
 *
 * relay exec MS PROGRAM…    works for MS, then replaces itself by the first PROGRAM, which goes on in the same way with
 *                           the list turned by one; no fork, the pid stays
 * relay fork MS             forks a child that works for MS and ends, then works for MS itself, for ever
 * relay vfork MS PROGRAM    vforks a child that works for MS on its parent's stack and then becomes `PROGRAM work MS`,
 *                           for ever
 * relay work MS             works for MS and ends */
#include "common.h"

#include <string.h>
#include <sys/wait.h>

#define MOST_ARGUMENTS 16

extern char **environ;

KEEP void stage_leaf(void)
{
	spin_work(20 * UNIT);
	__asm__ volatile("");
}

KEEP void stage(uint64_t ns)
{
	uint64_t until = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + ns;

	while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < until)
		stage_leaf();
}

/* Work by rounds rather than by the clock: the CPU clock of a child of vfork is not its parent's. */
KEEP void stage_rounds(unsigned long rounds)
{
	while (rounds--)
		stage_leaf();
	__asm__ volatile("");
}

KEEP void run_exec(uint64_t ns, char **argv)
{
	char *next[MOST_ARGUMENTS + 1] = { argv[3], argv[1], argv[2] };
	int i = 3;

	stage(ns);
	for (char **program = argv + 4; *program && i < MOST_ARGUMENTS - 1; program++)
		next[i++] = *program;
	next[i] = argv[3];
	setenv("RELAY_QUIET", "1", 1);
	execve(argv[3], next, environ);
	exit(71);
}

KEEP void run_fork(uint64_t ns)
{
	while (!stop_requested) {
		pid_t pid = fork();

		if (pid == 0) {
			stage(ns);
			_exit(0);
		}
		if (pid < 0)
			exit(71);
		stage(ns);
		waitpid(pid, NULL, 0);
	}
}

KEEP void run_vfork(unsigned long ms, char **argv)
{
	char *next[] = { argv[3], "work", argv[2], NULL };

	setenv("RELAY_QUIET", "1", 1);
	while (!stop_requested) {
		pid_t pid = vfork();

		if (pid == 0) {
			stage_rounds(4 * ms);
			execve(argv[3], next, environ);
			_exit(71);
		}
		if (pid < 0)
			exit(71);
		waitpid(pid, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	unsigned long ms = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	const char *mode = ms ? argv[1] : "";

	if (!getenv("RELAY_QUIET"))
		announce();
	if (!strcmp(mode, "exec") && argc > 3)
		run_exec(ms * 1000000ULL, argv);
	else if (!strcmp(mode, "fork"))
		run_fork(ms * 1000000ULL);
	else if (!strcmp(mode, "vfork") && argc > 3)
		run_vfork(ms, argv);
	else if (!strcmp(mode, "work"))
		stage(ms * 1000000ULL);
	else
		return 64;
	return 0;
}
