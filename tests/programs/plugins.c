/* plugins MS LIBRARY…: loads one library after the other, lets it work for MS milliseconds and unloads it, for ever:
 *
 *     main -> load_and_run -> plugin_run -> plugin_middle_X -> plugin_leaf_X */
#include "common.h"

#include <dlfcn.h>

KEEP void load_and_run(const char *path, uint64_t ns)
{
	void *library = dlopen(path, RTLD_NOW);
	void (*run)(uint64_t) = library ? (void (*)(uint64_t))dlsym(library, "plugin_run") : NULL;

	if (!run) {
		fprintf(stderr, "plugins: %s\n", dlerror());
		exit(70);
	}
	run(clock_ns(CLOCK_THREAD_CPUTIME_ID) + ns);
	dlclose(library);
	/* It has to be gone: what follows is about libraries that come back. */
	if (dlopen(path, RTLD_NOW | RTLD_NOLOAD))
		exit(71);
}

int main(int argc, char **argv)
{
	uint64_t ns = argc > 2 ? strtoull(argv[1], NULL, 10) * 1000000ULL : 0;
	unsigned long loads = 0;

	if (argc < 3)
		return 64;
	announce();
	for (int i = 2; !stop_requested; i = i + 1 < argc ? i + 1 : 2, loads++)
		load_and_run(argv[i], ns);
	printf("loads count=%lu\n", loads);
	report_process();
	return 0;
}
