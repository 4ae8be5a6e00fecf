"""`make bench`: every benchmark, one after another, on an otherwise idle machine."""

from benchmarks import chgcar, decoder, service

service.main()
chgcar.main()
decoder.main()
