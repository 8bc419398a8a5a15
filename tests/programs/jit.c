/* Spends its time in code that it wrote itself, as a JIT compiler does: anonymous executable memory, no symbols. */
#include "common.h"

#include <string.h>
#include <sys/mman.h>

/* void loop(unsigned long iterations), with a frame pointer. */
static const unsigned char CODE[] = {
	0x55,                   /* push %rbp */
	0x48, 0x89, 0xe5,       /* mov %rsp, %rbp */
	0x48, 0x0f, 0xaf, 0xc0, /* 1: imul %rax, %rax */
	0x48, 0x0f, 0xaf, 0xc0, /* imul %rax, %rax */
	0x48, 0x0f, 0xaf, 0xc0, /* imul %rax, %rax */
	0x48, 0x0f, 0xaf, 0xc0, /* imul %rax, %rax */
	0x48, 0xff, 0xcf,       /* dec %rdi */
	0x75, 0xeb,             /* jne 1b */
	0x5d,                   /* pop %rbp */
	0xc3,                   /* ret */
};

#define AREA_BYTES 8192UL

KEEP void jit_caller(void (*code)(unsigned long))
{
	while (!stop_requested)
		code(10 * UNIT);
	__asm__ volatile("");
}

int main(void)
{
	unsigned char *area = mmap(NULL, AREA_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		return 70;
	memcpy(area + 256, CODE, sizeof(CODE));
	printf("area start=%lu limit=%lu code=%lu\n", (unsigned long)area, (unsigned long)(area + AREA_BYTES),
	       (unsigned long)(area + 256));
	announce();
	jit_caller((void (*)(unsigned long))(void *)(area + 256));
	report_process();
	return 0;
}
