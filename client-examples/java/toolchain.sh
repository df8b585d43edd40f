# Sourced: ends the script with 77 without a JDK or Maven.
for program in javac mvn; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "java: $program is not installed (JDK 17 or newer and Maven 3.8 or newer are needed)" >&2
        exit 77
    fi
done
