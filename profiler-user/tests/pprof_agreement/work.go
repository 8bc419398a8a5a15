// Produces profiles for comparing tables: CPU time with inlining and recursion, a heap with some allocations, lock
// contention, blocking, and goroutines.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sort"
	"strings"
	"sync"
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

// contend makes goroutines wait for a lock and for each other.
func contend() {
	var lock sync.Mutex
	var all sync.WaitGroup
	values := make(chan int)
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < 20; j++ {
				lock.Lock()
				spin(100000)
				lock.Unlock()
				values <- j
			}
		}()
	}
	go func() { all.Wait(); close(values) }()
	for range values {
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	runtime.MemProfileRate = 1 << 12
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)
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
	contend()
	pprof.StopCPUProfile()
	must(cpu.Close())
	heap, err := os.Create(filepath.Join(folder, "heap.pb.gz"))
	must(err)
	must(pprof.WriteHeapProfile(heap))
	must(heap.Close())
	for _, name := range []string{"mutex", "block", "goroutine"} {
		file, err := os.Create(filepath.Join(folder, name+".pb.gz"))
		must(err)
		must(pprof.Lookup(name).WriteTo(file, 0))
		must(file.Close())
	}
	fmt.Println(total, len(kept))
}
