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

# Maven gets neither the token nor what else the key needs: only the agent does.
setup=$(signkit gpg init "$key")
eval "$setup"

# Java 17 knows no home of a user without a passwd entry, whatever HOME says.
if ! getent passwd "$(id -u)" >/dev/null; then
  export MAVEN_OPTS="${MAVEN_OPTS-} -Duser.home=${TMPDIR:-/tmp}"
fi

find "$folder" -path '*/target/*.asc' -delete # signatures of an earlier build
if ! env -u SIGNPATH_API_TOKEN mvn --batch-mode --file "$folder/pom.xml" "-Dgpg.keyname=$GPG_KEY_ID" "$@" </dev/null; then
  signkit gpg status --errors >&2 || true # Maven says "Exit code: 2"; the bridge says why
  exit 1
fi
signatures=$(find "$folder" -path '*/target/*.asc' | wc -l)
[[ $signatures -gt 0 ]] || { echo "sign.sh: Maven signed nothing; does $folder/pom.xml run maven-gpg-plugin's goal sign?" >&2; exit 1; }
