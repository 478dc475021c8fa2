package driver

import "fmt"

// Acks keeps, per partition, how many records were acknowledged and between which offsets.
type Acks map[int32]*ackRange

type ackRange struct{ count, first, last int64 }

// Add notes one record that was acknowledged.
func (a Acks) Add(partition int32, offset int64) {
	r := a[partition]
	if r == nil {
		a[partition] = &ackRange{1, offset, offset}
		return
	}
	r.count++
	r.first = min(r.first, offset)
	r.last = max(r.last, offset)
}

// Print tells the harness.
func (a Acks) Print() {
	for partition, r := range a {
		fmt.Println("acked", partition, r.count, r.first, r.last)
	}
}
