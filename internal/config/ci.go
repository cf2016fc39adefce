package config

// ciVariables lists what readCI reads.
func ciVariables() []string {
	return []string{
		"CI_JOB_URL", "CI_COMMIT_SHA",
		"GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_SHA",
		"BUILD_URL", "GIT_COMMIT",
		"SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID", "BUILD_SOURCEVERSION",
	}
}
