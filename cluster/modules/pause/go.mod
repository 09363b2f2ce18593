module llm-flywheel/cluster/pause

go 1.25.0
