// Produces profiles for comparing tables: CPU time with inlining and recursion, and a heap with some allocations.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sort"
	"strings"
	"time"
)

var kept [][]byte

func small(x int) int { return x*31 + x%7 }

func recurse(depth int) int {
	if depth == 0 {
		return spin(2000)
	}
	return small(recurse(depth-1)) + spin(100)
}

//go:noinline
func spin(n int) int {
	sum := 0
	for i := 0; i < n; i++ {
		sum += small(i)
	}
	return sum
}

func allocate(n int) {
	for i := 0; i < n; i++ {
		kept = append(kept, make([]byte, 1<<12+i))
	}
}

func sorted(n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("%08d", (i*7919)%n)
	}
	sort.Strings(words)
	return strings.Join(words, ",")
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	runtime.MemProfileRate = 1 << 12
	folder := os.Args[1]
	cpu, err := os.Create(filepath.Join(folder, "cpu.pb.gz"))
	must(err)
	must(pprof.StartCPUProfile(cpu))
	total := 0
	for start := time.Now(); time.Since(start) < 1500*time.Millisecond; {
		total += recurse(20) + len(sorted(3000))
		if len(kept) < 2000 {
			allocate(50)
		}
	}
	pprof.StopCPUProfile()
	must(cpu.Close())
	heap, err := os.Create(filepath.Join(folder, "heap.pb.gz"))
	must(err)
	must(pprof.WriteHeapProfile(heap))
	must(heap.Close())
	fmt.Println(total, len(kept))
}
