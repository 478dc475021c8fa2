// Package driver is what the drivers in Go have in common.
// The commands and what they print are described in README.md of the parent folder.
package driver

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Options are what the command line says.
type Options struct {
	Bootstrap, Topic, Group, Compression string
	Partitions                           int
}

// Main runs the command that the command line names.
func Main(commands map[string]func(Options) error) {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		names := slices.Sorted(maps.Keys(commands))
		fail(fmt.Errorf("usage: driver %s --bootstrap HOST:PORT --topic NAME", strings.Join(names, "|")))
	}
	var o Options
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&o.Bootstrap, "bootstrap", "", "broker address")
	flags.StringVar(&o.Topic, "topic", "", "topic")
	flags.StringVar(&o.Group, "group", "", "consumer group")
	flags.StringVar(&o.Compression, "compression", "none", "batch compression")
	flags.IntVar(&o.Partitions, "partitions", 1, "partitions of a topic to create")
	_ = flags.Parse(os.Args[2:])
	if err := commands[os.Args[1]](o); err != nil {
		fail(err)
	}
}

// fail begins with the word that the harness listens for.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "Error:", err)
	os.Exit(1)
}

// ObeyOrders carries out the orders on standard input, until it closes; code is Kafka's number of an error.
func ObeyOrders(obey func(words []string) error, code func(error) string) error {
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		if err := obey(strings.Split(orders.Text(), " ")); err != nil {
			fmt.Println("error", code(err))
		} else {
			fmt.Println("ok")
		}
	}
	return orders.Err()
}

// Number reads what the harness wrote; it writes numbers only.
func Number(word string) int64 {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		fail(err)
	}
	return n
}
