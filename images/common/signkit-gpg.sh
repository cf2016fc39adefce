# shellcheck shell=sh
# Prepares gpg in this shell, under the name that scripts written for the vendor's samples call. To be sourced, by any POSIX
# shell:
#   . /usr/share/signkit/signkit-gpg.sh
#   InitializeSignPathCryptoProviderGpgSigning [-ProjectSlug PROJECT] [-SigningPolicySlug POLICY] \
#     [-OrganizationId ID] [-ApiToken TOKEN] [-ApiUrl URL]
#   gpg -u "$GPG_KEY_ID" --detach-sign FILE
# What is not given comes from the environment (SIGNPATH_PROJECT_SLUG …). PROJECT/POLICY and the options of `signkit gpg init`
# may be given as well; a script that is new says  eval "$(signkit gpg init PROJECT/POLICY)"  and needs no function.
InitializeSignPathCryptoProviderGpgSigning() {
  while [ $# -gt 0 ]; do
    case $1 in
      -ProjectSlug | -SigningPolicySlug | -OrganizationId | -ApiToken | -ApiUrl)
        if [ $# -lt 2 ]; then
          echo "InitializeSignPathCryptoProviderGpgSigning: $1 needs a value" >&2
          return 2
        fi
        ;;
    esac
    case $1 in
      -ProjectSlug) SIGNPATH_PROJECT_SLUG=$2 && export SIGNPATH_PROJECT_SLUG ;;
      -SigningPolicySlug) SIGNPATH_SIGNING_POLICY_SLUG=$2 && export SIGNPATH_SIGNING_POLICY_SLUG ;;
      -OrganizationId) SIGNPATH_ORGANIZATION_ID=$2 && export SIGNPATH_ORGANIZATION_ID ;;
      -ApiToken) SIGNPATH_API_TOKEN=$2 && export SIGNPATH_API_TOKEN ;;
      -ApiUrl) SIGNPATH_API_URL=$2 && export SIGNPATH_API_URL ;;
      *) break ;;
    esac
    shift 2
  done
  signkit_gpg_status=0
  signkit_gpg_lines=$(signkit gpg init "$@") || signkit_gpg_status=$?
  # Of a failed call the lines see to it that gpg finds no other key.
  eval "$signkit_gpg_lines" || signkit_gpg_status=$?
  unset signkit_gpg_lines
  return "$signkit_gpg_status"
}
