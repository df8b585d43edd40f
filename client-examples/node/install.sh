#!/usr/bin/env bash
# Builds the package of npm, and makes a project in TypeScript in the directory $1 that depends on it.
set -euo pipefail
cd "$(dirname "$0")"
./build.sh
package=$PWD/dist/powerstream-consumer-$(node --print 'require("./package.json").version').tgz
# For the compiler: the versions that the library is built with.
mapfile -t compiler < <(node --print 'const { devDependencies: d } = require("./package.json");
    ["typescript", "@types/node"].map((name) => `${name}@${d[name]}`).join("\n")')
cp examples/print.ts "$1"
cd "$1"
npm init --yes >/dev/null
npm pkg set type=module
npm install --silent --no-audit --no-fund "$package" "${compiler[@]}"
npx tsc --strict --target es2024 --module node20 --types node --outDir . print.ts
cat >run <<'RUN'
#!/usr/bin/env bash
exec node "$(dirname "$0")/print.js"
RUN
chmod +x run
