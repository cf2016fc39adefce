package main

import "testing"

func TestTargets(t *testing.T) {
	values := func(v ...float64) []float64 { return v }
	for _, test := range []struct {
		name  string
		row   row
		value float64
		met   bool
	}{
		{"ratio met", compare("", "ms", "", values(11, 11, 30), values(10, 10, 10)).ratio(1.1), 1.1, true},
		{"ratio missed", compare("", "ms", "", values(12, 12, 1), values(10, 10, 10)).ratio(1.1), 1.2, false},
		{"at most", compare("", "ms", "", values(1, 1, 9), values(5)).atMost(1), 1, true},
		{"more", compare("", "ms", "", values(1, 1.5, 9), values(5)).atMost(1), 1.5, false},
		{"as fast", compare("", "ms", "", values(100), values(95)).speed(0.95), 0.95, true},
		{"slower", compare("", "ms", "", values(100), values(90)).speed(0.95), 0.9, false},
		{"rate met", compare("", "/s", "", values(90), values(100)).throughput(0.9), 0.9, true},
		{"rate missed", compare("", "/s", "", values(80), values(100)).throughput(0.9), 0.8, false},
		{"equal", compare("", "B", "", values(7, 7, 7, 7), values(7, 7, 7, 7)).equal(), 0, true},
		{"not equal", compare("", "B", "", values(7, 7, 7, 7), values(8, 8, 8, 8)).equal(), -1, false},
		{"not always the same", compare("", "B", "", values(6, 6, 7, 7), values(6, 6, 7, 7)).equal(), 0, false},
		{"for information", compare("", "ms", "", values(30), values(10)), 3, true},
	} {
		if test.row.Value != test.value || test.row.Met != test.met {
			t.Errorf("%s: %v, %v", test.name, test.row.Value, test.row.Met)
		}
	}
}

func TestALimitIsNamedOnlyWhereTheTargetIsMissed(t *testing.T) {
	for _, ours := range []float64{1, 2} {
		r := compare("", "ms", "", []float64{ours}, []float64{1}).ratio(1.5).limitedBy("why")
		if (r.Limit == "why") != (ours == 2) {
			t.Errorf("%v: %q", ours, r.Limit)
		}
	}
}
