#!/usr/bin/env bash
# Installs the library to ~/.m2, and makes a Maven project in the directory $1 that depends on it.
set -euo pipefail
cd "$(dirname "$0")"
. ./toolchain.sh
# That of the parent, which is that of all modules.
version=$(sed -n 's|^  <version>\(.*\)</version>$|\1|p' pom.xml)
mvn=(mvn --quiet --batch-mode --no-transfer-progress)
"${mvn[@]}" -Dmaven.test.skip=true --projects consumer --also-make install

sources=src/main/java/io/powerstream/gateway/example
mkdir -p "$1/$sources"
cp examples/$sources/{Print,Environment}.java "$1/$sources"
cd "$1"
cat >pom.xml <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test.example</groupId>
  <artifactId>indexer</artifactId>
  <version>1</version>
  <properties>
    <maven.compiler.release>17</maven.compiler.release>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <dependencies>
    <dependency>
      <groupId>io.powerstream.gateway</groupId>
      <artifactId>powerstream-consumer</artifactId>
      <version>$version</version>
    </dependency>
  </dependencies>
  <build>
    <plugins>
      <!-- That of Maven 3.8 does not know the property. -->
      <plugin>
        <artifactId>maven-compiler-plugin</artifactId>
        <version>3.14.1</version>
      </plugin>
    </plugins>
  </build>
</project>
POM
"${mvn[@]}" compile org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy-dependencies
cat >run <<'RUN'
#!/usr/bin/env bash
dir=$(dirname "$0")
exec java -cp "$dir/target/classes:$dir/target/dependency/*" io.powerstream.gateway.example.Print
RUN
chmod +x run
