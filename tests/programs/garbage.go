// A program that the garbage collector takes a good part of the time of: two goroutines build trees and drop them. The
// collector runs on the threads' own stacks, to which goroutines change. Runs until it is killed.
package main

import (
	"fmt"
	"os"
)

type node struct {
	left, right *node
	payload     [6]uint64
}

//go:noinline
func grow(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{left: grow(depth - 1), right: grow(depth - 1)}
}

//go:noinline
func churn() {
	var kept [8]*node
	for i := 0; ; i++ {
		kept[i%len(kept)] = grow(12)
	}
}

func main() {
	go churn()
	fmt.Println("ready", os.Getpid())
	churn()
}
