/* A library to preload: says on stderr how many instructions the verifier has gone through for each BPF program that a
 * process loads. Kernels tell the number of a loaded program since Linux 5.16 only, and in the verifier's log since ever.
 *
 * Calls of bpf(2) go through the C library's syscall(2), which this stands in for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* BPF_LOG_STATS (include/linux/bpf_verifier.h): the last line alone. */
#define LOG_STATS 4

typedef long call(long, long, long, long, long, long, long);

static long load(call *next, union bpf_attr *given, size_t bytes) {
    char log[4096] = "";
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    memcpy(&attr, given, bytes < sizeof attr ? bytes : sizeof attr);
    attr.log_level = LOG_STATS;
    attr.log_size = sizeof log;
    attr.log_buf = (unsigned long)log;
    long result = next(SYS_bpf, BPF_PROG_LOAD, (long)&attr, bytes, 0, 0, 0);
    const char *processed = strstr(log, "processed ");
    long instructions = 0;
    if (result >= 0 && processed && sscanf(processed, "processed %ld insns", &instructions) == 1)
        fprintf(stderr, "verified %s %ld\n", attr.prog_name, instructions);
    return result;
}

long syscall(long number, ...) {
    static call *next;
    if (!next)
        next = (call *)dlsym(RTLD_NEXT, "syscall");
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    union bpf_attr *attr = (union bpf_attr *)a[1];
    /* Where a log is asked for already, a refusal is being explained. */
    if (number == SYS_bpf && a[0] == BPF_PROG_LOAD && attr->log_buf == 0)
        return load(next, attr, a[2]);
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
