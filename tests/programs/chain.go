// The chain in Go: main.main -> main.chain01 -> ... -> main.chain12 -> main.leafHeavy (70 %) or main.leafLight (30 %),
// which calls the runtime's assembly. Runs until it is killed.
package main

import (
	"fmt"
	"os"
)

// Iterations in one unit of work, as in common.h.
const unit = 1500

type job struct {
	random uint64
	depth  int
	sum    uint64
	bytes  [2][]byte
}

//go:noinline
func leafHeavy(n uint64) uint64 {
	x := uint64(3)
	for i := uint64(0); i < n; i++ {
		x = x*x*x*x*x*x*x*x + i
	}
	return x
}

//go:noinline
func leafLight(job *job, n uint64) {
	for i := uint64(0); i < n; i++ {
		copy(job.bytes[i%2], job.bytes[(i+1)%2])
	}
}

//go:noinline
func chain12(job *job) {
	for job.depth >= 0 {
		job.random = job.random*6364136223846793005 + 1442695040888963407
		slice := 1 + job.random>>60
		job.sum += leafHeavy(7 * slice * unit)
		leafLight(job, 3*slice)
	}
}

//go:noinline
func chain11(job *job) {
	chain12(job)
	job.depth--
}

//go:noinline
func chain10(job *job) {
	chain11(job)
	job.depth--
}

//go:noinline
func chain09(job *job) {
	chain10(job)
	job.depth--
}

//go:noinline
func chain08(job *job) {
	chain09(job)
	job.depth--
}

//go:noinline
func chain07(job *job) {
	chain08(job)
	job.depth--
}

//go:noinline
func chain06(job *job) {
	chain07(job)
	job.depth--
}

//go:noinline
func chain05(job *job) {
	chain06(job)
	job.depth--
}

//go:noinline
func chain04(job *job) {
	chain05(job)
	job.depth--
}

//go:noinline
func chain03(job *job) {
	chain04(job)
	job.depth--
}

//go:noinline
func chain02(job *job) {
	chain03(job)
	job.depth--
}

//go:noinline
func chain01(job *job) {
	chain02(job)
	job.depth--
}

func main() {
	job := job{random: 1, bytes: [2][]byte{make([]byte, 1<<18), make([]byte, 1<<18)}}
	fmt.Println("ready", os.Getpid())
	chain01(&job)
	fmt.Println(job.sum)
}
