// Something to compile that takes a compiler a while: templates of the standard library, with the code that they make.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <regex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

template <int N> struct Words {
	std::map<std::string, std::vector<std::string>> by_first;
	std::unordered_map<std::string, std::shared_ptr<std::regex>> patterns;

	void add(const std::string &text)
	{
		std::istringstream words(text);

		for (std::string word; words >> word;)
			by_first[word.substr(0, N)].push_back(word);
		for (auto &[first, all] : by_first)
			std::sort(all.begin(), all.end(), [](const auto &a, const auto &b) { return a.size() < b.size(); });
	}

	size_t matching(const std::string &pattern)
	{
		auto &compiled = patterns[pattern];

		if (!compiled)
			compiled = std::make_shared<std::regex>(pattern);
		return std::accumulate(by_first.begin(), by_first.end(), size_t(0), [&](size_t sum, const auto &entry) {
			return sum + std::count_if(entry.second.begin(), entry.second.end(), [&](const auto &word) {
				       return std::regex_match(word, *compiled);
			       });
		});
	}
};

template <int N> size_t total(const std::string &text)
{
	Words<N> words;

	words.add(text);
	return words.matching("[a-z]+") + total<N - 1>(text);
}

template <> size_t total<0>(const std::string &text)
{
	return text.size();
}

int main(int argc, char **argv)
{
	std::mt19937 random(static_cast<unsigned>(argc));

	std::cout << total<12>(argv[0]) + random() << '\n';
	return 0;
}
