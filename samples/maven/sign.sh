#!/usr/bin/env bash
# usage: sign.sh PROJECT/POLICY FOLDER [MAVEN-ARGUMENT…]
#
# Builds the Maven project in FOLDER and signs its artifacts with the maven-gpg-plugin that its pom.xml names (goal `sign`): each
# file of target/ that would be deployed gets a .asc. Default goal: verify; name `deploy` to publish.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE). The public key for those who verify: signkit gpg export PROJECT/POLICY
# Needed: mvn with a JDK, gpg, gpg-agent, signkit. Works with maven-gpg-plugin 1.6 and 3.x.
set -euo pipefail

[[ $# -ge 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
key=$1 folder=$2
shift 2
[[ $# -gt 0 ]] || set -- verify

# Compiled resources may have such names, too.
signatures() { find "$folder" -path '*/target/*.asc' -not -path '*/target/*classes/*' "$@"; }
signatures -delete # of an earlier build

setup=$(signkit gpg init "$key")
eval "$setup"

# Maven and its plugins get neither the token nor what leads to it: only the agent does.
without=()
for name in $(compgen -e SIGNPATH_) $(compgen -e SIGNKIT_); do without+=(-u "$name"); done

# Java 17 knows no home of a user without a passwd entry, whatever HOME says.
if ! getent passwd "$(id -u)" >/dev/null; then
  export MAVEN_OPTS="${MAVEN_OPTS-} -Duser.home=${TMPDIR:-/tmp}"
fi

if ! env "${without[@]}" mvn --batch-mode --file "$folder/pom.xml" "-Dgpg.keyname=$GPG_KEY_ID" "$@" </dev/null; then
  signatures -delete # of what was signed before the failure
  signkit gpg status --errors >&2 || true # Maven says "Exit code: 2"; the bridge says why
  exit 1
fi
if [[ -z $(signatures) ]]; then
  echo "sign.sh: Maven signed nothing; does $folder/pom.xml run maven-gpg-plugin's goal sign?" >&2
  exit 1
fi
