# The Java lane; the Makefile at the root says what a lane is. What its tests need
# is in Maven's own repository, and what it builds in target folders.
JAVA_SDK := plugins/sdk/java
MVN      := mvn -q -B -ntp

.PHONY: lane-java check-java test-java sdk-java

lane-java:
	@dir="$$($(LANE) dir java)" || exit 1; [ -e "$$dir/ready" ] || { \
	$(MVN) -f examples/java/pom.xml -DskipTests package && mkdir -p "$$dir" && touch "$$dir/ready"; }

check-java: # javac is told to take no warnings

test-java:
	$(MVN) -f examples/java/pom.xml package

sdk-java:
	@mkdir -p $(DIST)
	$(MVN) -f $(JAVA_SDK)/pom.xml -Drevision=$(VERSION:v%=%) -DskipTests -Prelease package
	@cp $(JAVA_SDK)/target/hookmux-sdk.pom $(DIST)/hookmux-sdk-$(VERSION:v%=%).pom
	@cp $(JAVA_SDK)/target/hookmux-sdk-$(VERSION:v%=%)*.jar $(DIST)/ && ls $(DIST)/hookmux-sdk-$(VERSION:v%=%)*
