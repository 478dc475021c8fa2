package main

import "fmt"

// acks keeps, per partition, how many records were acknowledged and between which offsets.
type acks map[int32]*ackRange

type ackRange struct{ count, first, last int64 }

func newAcks() acks { return make(acks) }

func (a acks) add(partition int32, offset int64) {
	r := a[partition]
	if r == nil {
		a[partition] = &ackRange{1, offset, offset}
		return
	}
	r.count++
	r.first = min(r.first, offset)
	r.last = max(r.last, offset)
}

func (a acks) print() {
	for partition, r := range a {
		fmt.Println("acked", partition, r.count, r.first, r.last)
	}
}
