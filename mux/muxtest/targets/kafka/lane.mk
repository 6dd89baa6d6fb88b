# Apache Kafka for the tests that forward to one; the Makefile at the root says what a
# lane is. This one has nothing but what is to be installed.
.PHONY: lane-kafka

lane-kafka:
	@dir="$$($(LANE) dir kafka)" || exit 1; [ -e "$$dir/ready" ] || { \
	rm -rf "$$dir" && mvn -q -B -ntp -f mux/muxtest/targets/kafka/pom.xml dependency:copy-dependencies \
	-DincludeScope=runtime -DoutputDirectory="$$dir" && touch "$$dir/ready"; }
