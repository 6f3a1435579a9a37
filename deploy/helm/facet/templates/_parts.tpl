{{/* The name of every object: the release's. */}}
{{- define "facet.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* What tells the pods of this release from those of another. */}}
{{- define "facet.selector" -}}
app.kubernetes.io/name: facet
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "facet.labels" -}}
{{ include "facet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "facet.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The settings, those of the engine among them: a value that is set by hand comes before the engine's. */}}
{{- define "facet.settings" -}}
{{- $engine := dict -}}
{{- if ne .Values.engine "embedded" -}}
{{- $engine = dict "FACET_DATABASE_SSLMODE" .Values.database.sslmode -}}
{{- if hasPrefix "verify-" .Values.database.sslmode -}}
{{- $_ := set $engine "FACET_DATABASE_SSLROOTCERT" "/etc/facet/ca.crt" -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.engine "milvus" -}}
{{- $engine = merge $engine (dict "FACET_INDEX" "milvus" "FACET_MILVUS" .Values.milvus.address) -}}
{{- end -}}
{{- merge dict .Values.settings $engine | toYaml -}}
{{- end -}}

{{/* The pod: the same for every engine but for its settings and volumes. */}}
{{- define "facet.pod" -}}
metadata:
  labels:
    {{- include "facet.labels" . | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false # a service named facet would set FACET_PORT to its own address
  terminationGracePeriodSeconds: {{ add 10 (ceil .Values.settings.FACET_SHUTDOWN_SECONDS) }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - {name: {{ . }}}
    {{- end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  {{- if ne .Values.engine "embedded" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "facet.selector" . | nindent 10 }}
  {{- end }}
  {{- range $name := list "nodeSelector" "tolerations" "affinity" }}
  {{- with index $.Values $name }}
  {{ $name }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  containers:
    - name: facet
      image: {{ include "facet.image" . }}
      {{- with .Values.image.pullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      ports:
        - {name: http, containerPort: 8000}
      env:
        {{- range $name, $value := include "facet.settings" . | fromYaml }}
        - {name: {{ $name }}, value: {{ $value | toString | quote }}}
        {{- end }}
        {{- if ne .Values.engine "embedded" }}
        - name: FACET_DATABASE
          valueFrom:
            secretKeyRef: {name: {{ .Values.database.secret }}, key: address}
        - name: FACET_DATABASE_PASSWORD
          valueFrom:
            secretKeyRef: {name: {{ .Values.database.secret }}, key: password}
        {{- end }}
        {{- range $name, $from := .Values.secretSettings }}
        - name: {{ $name }}
          valueFrom:
            secretKeyRef: {name: {{ $from.name }}, key: {{ $from.key }}}
        {{- end }}
      {{- if ne .Values.engine "embedded" }}
      lifecycle:
        preStop: # requests still come until every node knows that this pod ends
          exec: {command: [sleep, "5"]}
      {{- end }}
      livenessProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 10
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 2
      startupProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 2
        failureThreshold: 150
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: tmp, mountPath: /tmp}
        {{- if include "facet.authority" . }}
        - {name: authority, mountPath: /etc/facet, readOnly: true}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {medium: Memory, sizeLimit: {{ .Values.storage.tmp }}}}
    {{- if ne .Values.engine "embedded" }}
    - {name: data, emptyDir: {sizeLimit: {{ .Values.storage.scratch }}}}
    {{- end }}
    {{- if include "facet.authority" . }}
    - name: authority
      secret:
        secretName: {{ .Values.database.secret }}
        items:
          - {key: ca.crt, path: ca.crt}
    {{- end }}
{{- end -}}

{{/* Not empty where the database's certificate is checked. */}}
{{- define "facet.authority" -}}
{{- if and (ne .Values.engine "embedded") (hasPrefix "verify-" .Values.database.sslmode) -}}true{{- end -}}
{{- end -}}
