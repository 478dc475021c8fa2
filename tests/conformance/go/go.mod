module millstream/conformance/driver

go 1.26.0
