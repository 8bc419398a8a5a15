// The chain in C++: the leaves are one member function of two instances of a template.
#include "common.h"

namespace app {

template <typename T> class Widget {
public:
	KEEP void spin(unsigned long units);
};

template <typename T> void Widget<T>::spin(unsigned long units)
{
	FRAME();
	spin_work(units * UNIT);
	__asm__ volatile("");
}

template class Widget<int>;
template class Widget<char>;

KEEP void chain_12(uint64_t *random)
{
	Widget<int> heavy;
	Widget<char> light;

	while (!stop_requested) {
		unsigned long slice = next_slice(random);

		heavy.spin(7 * slice);
		light.spin(3 * slice);
	}
}

#define LINK(name, next)              \
	KEEP void name(uint64_t *random) \
	{                               \
		next(random);           \
		__asm__ volatile("");   \
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
LINK(chain_01, chain_02)

} // namespace app

int main()
{
	uint64_t random = 1;

	announce();
	app::chain_01(&random);
	report_process();
	return 0;
}
