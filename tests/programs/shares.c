/* Three functions that share the CPU as the arguments say: "shares 100 100 110" gives the third ten percent more work.
 * A shared library of two services in which one got a slower version of a function. */
#include <stdio.h>
#include <stdlib.h>

#define APART __attribute__((noinline, noclone))

static volatile unsigned sink;

static void spin(long rounds) __attribute__((always_inline));
static inline void spin(long rounds)
{
    unsigned x = sink;
    for (long i = 0; i < rounds * 1000; i++) {
        x = x * 1664525u + 1013904223u;
        __asm__ volatile("" : "+r"(x));
    }
    sink = x;
}

APART void share_one(long rounds) { spin(rounds); }
APART void share_two(long rounds) { spin(rounds); }
APART void share_three(long rounds) { spin(rounds); }

int main(int count, char **words)
{
    if (count < 4)
        return 2;
    long rounds[3] = {atol(words[1]), atol(words[2]), atol(words[3])};
    puts("ready");
    fflush(stdout);
    // Rounds of different lengths: a program in step with the clock would not be sampled by chance, and what is said of
    // chance would not hold.
    for (unsigned random = 1;;) {
        random = random * 1664525u + 1013904223u;
        long times = 1 + (random >> 29);
        share_one(times * rounds[0]);
        share_two(times * rounds[1]);
        share_three(times * rounds[2]);
    }
}
