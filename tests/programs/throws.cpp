// A thousand exceptions a second, thrown by chain_12 and caught by chain_01, past destructors that work:
//
//     main -> app::chain_01 -> … -> app::chain_12 -> app::leaf, or the throw
#include "common.h"

namespace app {

KEEP void leaf(unsigned long units)
{
	spin_work(units * UNIT);
	__asm__ volatile("");
}

// Works when the stack is unwound past it, between one frame's cleanup and the next.
struct Guard {
	KEEP ~Guard();
};

Guard::~Guard()
{
	spin_work(UNIT / 2);
	__asm__ volatile("");
}

KEEP void chain_12(uint64_t *random)
{
	// 65 units are about 800 us.
	leaf(65);
	throw next_slice(random);
}

#define LINK(name, next)                  \
	KEEP void name(uint64_t *random) \
	{                                 \
		Guard guard;              \
		next(random);             \
		__asm__ volatile("");     \
	}

LINK(chain_11, chain_12)
LINK(chain_10, chain_11)
LINK(chain_09, chain_10)
LINK(chain_08, chain_09)
LINK(chain_07, chain_08)
LINK(chain_06, chain_07)
LINK(chain_05, chain_06)
LINK(chain_04, chain_05)
LINK(chain_03, chain_04)
LINK(chain_02, chain_03)

KEEP unsigned long chain_01(uint64_t *random)
{
	unsigned long caught = 0;

	while (!stop_requested) {
		try {
			chain_02(random);
		} catch (unsigned long) {
			caught++;
		}
	}
	return caught;
}

} // namespace app

int main()
{
	uint64_t random = 1;

	announce();
	unsigned long caught = app::chain_01(&random);

	printf("exceptions count=%lu\n", caught);
	report_process();
	return 0;
}
