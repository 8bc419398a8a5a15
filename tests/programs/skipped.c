/* skipped: reads a map in batches until it is stopped. Meanwhile the kernel runs no BPF program on its CPU that a perf event
 * brings (bpf_disable_instrumentation, kernel/bpf/hashtab.c), so that many ticks are left out in the midst of its work. */
#include "common.h"

#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>

#define ENTRIES 4096
#define VALUE_BYTES 4096

static char keys[ENTRIES * 4], values[ENTRIES][VALUE_BYTES];

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

int main(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = VALUE_BYTES };
	uint32_t key, position;
	/* Before Linux 5.11 maps were charged to it. */
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	int map;

	setrlimit(RLIMIT_MEMLOCK, &all);
	attr.max_entries = ENTRIES;
	map = (int)bpf(BPF_MAP_CREATE, &attr);
	for (key = 0; map >= 0 && key < ENTRIES; key++) {
		memset(&attr, 0, sizeof(attr));
		attr.map_fd = (uint32_t)map;
		attr.key = (uintptr_t)&key;
		attr.value = (uintptr_t)values[0];
		if (bpf(BPF_MAP_UPDATE_ELEM, &attr))
			break;
	}
	if (map < 0 || key < ENTRIES) {
		perror("skipped: no map");
		return 1;
	}
	announce();
	while (!stop_requested) {
		memset(&attr, 0, sizeof(attr));
		attr.batch.map_fd = (uint32_t)map;
		attr.batch.out_batch = (uintptr_t)&position;
		attr.batch.keys = (uintptr_t)keys;
		attr.batch.values = (uintptr_t)values;
		attr.batch.count = ENTRIES;
		bpf(BPF_MAP_LOOKUP_BATCH, &attr);
	}
	report_process();
	return 0;
}
