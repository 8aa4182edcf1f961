"""For tests of programs that use cloche: fakes and conformance suites per port."""
