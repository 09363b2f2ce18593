"""What is a secret, to its exact bounds, and what is none. Put together here, so that no scanner flags this file."""

from base64 import b64encode

import pytest

from llm_flywheel.components.scan_pii.fold import fold
from llm_flywheel.components.scan_pii.rules import secret as rule
from llm_flywheel.components.scan_pii.spans import resolve

ALNUM = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6A7b8C9d0E1f2G3h4"
UPPER = "A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6Q7R8S9T0"
HEX = "9f86d081884c7d659a2feaa0c55ad0153f2a9c1b7e5d4a6f8b0c2d4e6f8a0b1c"
UUID = "3f2a9c1b-7e5d-4a6f-8b0c-2d4e6f8a0b1c"
PEM = "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIE" + ALNUM + "\n-----END RSA PRIVATE " + "KEY-----"
JWT = "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxMjM0In0." + ALNUM[:40]
PAIR = b64encode(b"admin:hunter22").decode()
BCRYPT = "$2" + "b$12$" + "R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"

DJANGO = "2g5alh0=q=xo6m_^yhbo))2cvm7tn%gr-eh8d!y)*d29w!d!(0"


def found(text: str) -> list[str]:
    return [text[span.start : span.end] for span in resolve(rule.find(fold(text).text))]


@pytest.mark.parametrize(
    "secret",
    [
        "gh" + "p_" + ALNUM[:36], "gh" + "s_" + ALNUM[:36], "github" + "_pat_" + ALNUM[:22] + "_" + ALNUM[:59],
        "AK" + "IA" + "ABCDEFGHIJKLMNOP", "AS" + "IA" + UPPER[:16], "sk-" + "proj-" + ALNUM[:48],
        "sk-" + "FAKE" + ALNUM[:40],
        "sk-" + "ant-api03-" + ALNUM + "-" + ALNUM[:20] + "AA", "sk-" + "svcacct-" + ALNUM, "sk-" + "or-v1-" + HEX,
        "sk" + "_live_" + ALNUM[:24], "rk" + "_test_" + ALNUM[:24], "wh" + "sec_" + ALNUM[:32],
        "test" + "_sk_" + ALNUM[:32], "live" + "_gsk_" + ALNUM[:32], "AI" + "za" + ALNUM[:35], "hf" + "_" + ALNUM[:34],
        "np" + "m_" + ALNUM[:36], "py" + "pi-AgEIcHlwaS5vcmc" + ALNUM[:60], "rubygems" + "_" + HEX[:48],
        "oy" + "2" + "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0u1v", "ci" + "o" + ALNUM[:32],
        "xo" + "xb-123456789012-" + ALNUM[:24], "xo" + "xp-123456789012-123456789012-" + HEX[:32],
        "xa" + "pp-1-" + UPPER[:11] + "-" + HEX[:40],
        "glp" + "at-" + ALNUM[:20], "gld" + "t-" + ALNUM[:20], "ATA" + "TT3x" + ALNUM[:60], "ATB" + "B" + ALNUM[:32],
        "ya" + "29." + ALNUM, "GOC" + "SPX-" + ALNUM[:28], "LT" + "AI5t" + ALNUM[:20], "AK" + "ID" + ALNUM[:32],
        "ncp" + "_iam_" + ALNUM[:30], "do" + "p_v1_" + HEX, "da" + "pi" + HEX[:32], "sh" + "pat_" + HEX[:32],
        "sq0" + "atp-" + ALNUM[:22],
        "SG" + "." + ALNUM[:22] + "." + ALNUM[:43], "ke" + "y-" + HEX[:32], "S" + "K" + HEX[:32],
        "xke" + "ysib-" + HEX + "-" + ALNUM[:16],
        "hv" + "s." + ALNUM[:40], "gl" + "sa_" + ALNUM[:32] + "_" + HEX[:8], "NR" + "AK-" + UPPER[:27],
        "sntr" + "ys_" + ALNUM[:64],
        "lin" + "_api_" + ALNUM[:40], "ntn" + "_" + ALNUM[:46], "fig" + "d_" + ALNUM[:40],
        "PM" + "AK-" + HEX[:24] + "-" + HEX[:34],
        "dp" + ".pt." + ALNUM[:43], "dckr" + "_pat_" + ALNUM[:27], "gs" + "k_" + ALNUM[:52],
        "xa" + "i-" + ALNUM, "r8" + "_" + ALNUM[:37],
        "nva" + "pi-" + ALNUM[:60], "pp" + "lx-" + ALNUM[:48], "AGE-" + "SECRET-KEY-1" + UPPER + UPPER[:18],
        "tskey-" + "auth-" + ALNUM[:40],
        "12345678" + "90:AA" + ALNUM[:33], "MT" + "IzNDU2Nzg5MDEyMzQ1Njc4." + "GaBcDe." + ALNUM[:38],
        "1/" + "/0" + ALNUM[:60],
        ALNUM[:3] + "8Q" + "~" + ALNUM[:34], JWT, PEM, PEM.replace("RSA ", "OPENSSH "), PEM.replace("RSA ",
        "ENCRYPTED "), PEM.replace("RSA ", ""),
        PEM.replace("RSA ", "PGP ").replace("KEY-", "KEY BLOCK-"), PEM.replace("\n", "\\n"), BCRYPT,
        "$6" + "$rounds=5000$saltsalt$" + ALNUM + ALNUM[:18], "$apr1" + "$saltsalt$" + ALNUM[:22],
        "pbkdf2_" + "sha256$260000$saltsalt$" + ALNUM[:43] + "=",
    ],
)  # fmt: skip
def test_secret_that_says_what_it_is_needs_no_label(secret: str) -> None:
    assert found(f"로그에 {secret}이 남았습니다") == [secret]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # Environment, YAML, JSON, TOML, INI, XML, properties
        ("DB_PASSWORD=Winter2019!", "Winter2019!"),
        ("export PGPASSWORD='s3cr3t-pass?'", "s3cr3t-pass?"),
        ("MYSQL_ROOT_PASSWORD=supersafeword", "supersafeword"),
        ('"password": "hunter22"', "hunter22"),
        ('{"user":"kim","pw":"qwer1234!!"}', "qwer1234!!"),
        ('{"clientSecret": "' + ALNUM[:32] + '"}', ALNUM[:32]),
        ('{"비밀번호": "abc123!@"}', "abc123!@"),
        ("spring.datasource.password=Tr0ub4dor&3", "Tr0ub4dor&3"),
        ("password: Tr0ub4dor\n", "Tr0ub4dor"),
        ("  password: 'x9!k2#Lm'", "x9!k2#Lm"),
        ("<password>x9k2#Lm77</password>", "x9k2#Lm77"),
        ('<add key="DbPassword" value="Abc123!x" />', "Abc123!x"),
        ("- name: DB_PASSWORD\n  value: hunter22!\n", "hunter22!"),
        ('{"name": "API_TOKEN", "value": "' + HEX[:32] + '"}', HEX[:32]),
        (f"api_key: '{ALNUM[:32]}'", ALNUM[:32]),
        (f"[auth]\nsecret_key = {HEX[:40]}\n", HEX[:40]),
        (f"x-api-key: {ALNUM[:40]}", ALNUM[:40]),
        (f"AWS_SECRET_ACCESS_KEY=/{ALNUM[:39]}", f"/{ALNUM[:39]}"),
        (f"aws_session_token = {ALNUM}+/{ALNUM}==", f"{ALNUM}+/{ALNUM}=="),
        (f"DD_API_KEY={HEX[:32]}", HEX[:32]),
        (f"OPENAI_KEY={ALNUM[:30]}", ALNUM[:30]),
        (f"Ocp-Apim-Subscription-Key: {HEX[:32]}", HEX[:32]),
        (f"heroku_api_key={UUID}", UUID),
        (f"//registry.npmjs.org/:_authToken={UUID}", UUID),
        # Code
        ('password = "hunter22!"', "hunter22!"),
        ('db_password: str = "hunter22!"', "hunter22!"),
        ("const apiKey: string = '" + ALNUM[:32] + "';", ALNUM[:32]),
        ('String dbPassword = "hunter22!";', "hunter22!"),
        ('token := "' + ALNUM[:32] + '"', ALNUM[:32]),
        ('config["password"] = "hunter22!"', "hunter22!"),
        ("$config['db_password'] = 'hunter22!';", "hunter22!"),
        ("'password' => 'hunter22!',", "hunter22!"),
        ("define('DB_PASSWORD', 'hunter22!');", "hunter22!"),
        ('builder.setPassword("hunter22!")', "hunter22!"),
        ('os.environ["API_TOKEN"] = "' + ALNUM[:32] + '"', ALNUM[:32]),
        ('api_key = os.getenv("API_KEY", "' + ALNUM[:32] + '")', ALNUM[:32]),
        ("const t = process.env.API_TOKEN || '" + ALNUM[:32] + "'", ALNUM[:32]),
        ('connect(user="a", password="hunter22!", host="b")', "hunter22!"),
        # Connection strings, URLs, headers, command lines
        ("postgres://app:Winter@2015#@db.internal:5432/x", "Winter@2015#"),
        ("redis://:p4ssw0rdX@cache:6379/0", "p4ssw0rdX"),
        ("mongodb+srv://svc:hunter22@cluster0.mongodb.net", "hunter22"),
        ("jdbc:mysql://db/x?user=app&password=hunter22&useSSL=true", "hunter22"),
        ("Server=db;Database=x;User Id=sa;Password=Abc123!;Encrypt=True", "Abc123!"),
        ("Driver={ODBC};Uid=sa;Pwd=letmeinnow;", "letmeinnow"),
        (f"AccountName=x;AccountKey={ALNUM}{ALNUM[:18]}==;EndpointSuffix=core.windows.net", f"{ALNUM}{ALNUM[:18]}=="),
        (f"https://x.blob.core.windows.net/c?sv=2022&se=2024&sig={ALNUM[:42]}%3D", f"{ALNUM[:42]}%3D"),
        (f"https://{HEX[:32]}@o123.ingest.sentry.io/45", HEX[:32]),
        (f"curl '/v1?token={ALNUM[:20]}&page=2'", ALNUM[:20]),
        (f"GET /v1/items?api_key={ALNUM[:32]}&page=2 HTTP/1.1", ALNUM[:32]),
        (f"Authorization: Bearer {ALNUM}", ALNUM),
        (f"Authorization: Basic {PAIR}", PAIR),
        (f"Authorization: Token {HEX[:40]}", HEX[:40]),
        (f'headers={{"Authorization": "Bearer {ALNUM[:40]}"}}', ALNUM[:40]),
        ("curl -u admin:hunter22 https://x.io", "hunter22"),
        ("curl https://x.io -s --user 'admin:hunter22!'", "hunter22!"),
        ("mysql -u root -p'hunt er22' shop", "hunt er22"),
        ("mysqldump -uroot -phunter22 shop", "hunter22"),
        ("docker login -u kim -p hunter22! registry.x.io", "hunter22!"),
        ("sshpass -p 'hunter22!' ssh x", "hunter22!"),
        (f"vault login --token {ALNUM[:24]}", ALNUM[:24]),
        ("mysql --password=hunter22 -e 'x'", "hunter22"),
        ("machine git.x.io login kim password hunter22\n", "hunter22"),
        (f'{{"auths": {{"x.io": {{"auth": "{PAIR}"}}}}}}', PAIR),
        ("https://hooks.slack.com/services/T00000000/B00000000/" + ALNUM[:24],
        "https://hooks.slack.com/services/T00000000/B00000000/" + ALNUM[:24]),
        ("apiVersion: v1\nkind: Secret\ndata:\n  pin: aHVudGVyMjI=\n", "aHVudGVyMjI="),
        # English
        ("The temp password is aB3dE-xYz12 , change it", "aB3dE-xYz12"),
        ("the wifi password is hunter2!", "hunter2!"),
        ("My password is hunter2!.", "hunter2!"),
        ("Your new password is: Blue$ky88", "Blue$ky88"),
        ("Password for kim@x.com: Blue$ky88", "Blue$ky88"),
        ("I changed the password to Blue$ky88 yesterday", "Blue$ky88"),
        ("login: admin / pass: Blue$ky88", "Blue$ky88"),
        ("pw: q1w2e3r4", "q1w2e3r4"),
        ("Passcode: 482913", "482913"),
        ("Password:\n  Blue$ky88\n", "Blue$ky88"),
        ("**Password:** `Blue$ky88`", "Blue$ky88"),
        ("| password | Blue$ky88 |", "Blue$ky88"),
        ("the password is “Blue$ky88”", "Blue$ky88"),
        (f"my api key is {HEX[:32]}, does it still work?", HEX[:32]),
        (f"here is the API key you asked for: {HEX[:32]}", HEX[:32]),
        ("Wi-Fi passphrase - correct7horse9battery", "correct7horse9battery"),
        # Korean
        ("비밀번호는 Winter@2019# 로 초기화", "Winter@2019#"),
        ("비밀번호를 Winter2019!로 바꿨어요", "Winter2019!"),
        ("비밀번호는 abc123!입니다.", "abc123!"),
        ("임시 비밀번호: Xy12#ab89", "Xy12#ab89"),
        ("와이파이 비번 hunter22!예요", "hunter22!"),
        ("비번은 q1w2e3r4이고 아이디는 kim", "q1w2e3r4"),
        ("비밀번호(임시) : Xy12ab89", "Xy12ab89"),
        ("초기 패스워드 'Xy12ab89'를 쓰세요", "Xy12ab89"),
        ("현관 비밀번호는 1234입니다", "1234"),
        ("암호: qwer1234!", "qwer1234!"),
        ("PW는 qwer1234! 입니다", "qwer1234!"),
        ("비밀번호를 임시로 Xy12#ab89로 초기화", "Xy12#ab89"),
        (f"인증키 {HEX[:32]}를 넣어 주세요", HEX[:32]),
        (f"발급받은 API 키는 {ALNUM[:32]}입니다", ALNUM[:32]),
        (f"카카오 REST API 키: {HEX[:32]}", HEX[:32]),
        (f"액세스 토큰은 {ALNUM[:32]}이에요", ALNUM[:32]),
        ("OTP 시드: JBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXP"),
        (f"serviceKey={ALNUM[:60]}%3D%3D", f"{ALNUM[:60]}%3D%3D"),
        # Sections, cookies, SQL, Redis, command lines, files of their own
        ('"Jwt": {\n    "Key": "' + ALNUM + '",', ALNUM),
        (f"[jwt]\nkey = '{ALNUM[:40]}'\n", ALNUM[:40]),
        (f"Set-Cookie: session={ALNUM[:32]}; HttpOnly; Path=/", ALNUM[:32]),
        (f"Cookie: _ga=GA1.2.1234567.1699999999; JSESSIONID={HEX[:32]}; lang=ko", HEX[:32]),
        (f"curl -b 'sessionid={ALNUM[:32]}' https://x.io", ALNUM[:32]),
        ("CREATE USER app IDENTIFIED BY 'S3cr3t!pw';", "S3cr3t!pw"),
        ("CREATE USER app IDENTIFIED WITH mysql_native_password BY 'abcDEF123';", "abcDEF123"),
        ("ALTER ROLE app WITH LOGIN PASSWORD 'Winter2020';", "Winter2020"),
        ("requirepass foobared123\n", "foobared123"),
        ("masterauth Sup3rS3cret\n", "Sup3rS3cret"),
        ("redis-cli -h x -a hunter22x ping", "hunter22x"),
        ("curl -u 'elastic:tigerlily' https://x.io", "tigerlily"),
        ("app --password hunter22 --verbose", "hunter22"),
        ("mysql -uroot -psecretpw shop", "secretpw"),
        ("sshpass -phunter22 ssh x", "hunter22"),
        ("keytool -genkey -storepass changeit99", "changeit99"),
        ("openssl pkcs12 -export -passout pass:hunter22x -in a", "hunter22x"),
        ("machine api.x.io\n  login kim\n  password tigerlily\n", "tigerlily"),
        ("~/.pgpass:\ndb.x.io:5432:shop:app:Winter2020!\n", "Winter2020!"),
        ("jdbc:oracle:thin:scott/tiger99@//h:1521/x", "tiger99"),
        (f"h:6379,password={ALNUM[:20]},ssl=True", ALNUM[:20]),
        ('variable "db_password" {\n  type = string\n  default = "Winter2020!"\n}', "Winter2020!"),
        (f"define('AUTH_SALT', '{ALNUM[:32]}');", ALNUM[:32]),
        ('requests.get(u, auth=("admin", "hunter22"))', "hunter22"),
        ('"private_key": "' + PEM.replace("\n", "\\n") + '\\n"', PEM.replace("\n", "\\n") + "\\n"),
        # Schemes of the Authorization header
        (f"Authorization: KakaoAK {HEX[:32]}", HEX[:32]),
        (f"'Authorization': 'SSWS 00{ALNUM[:40]}'", f"00{ALNUM[:40]}"),
        (f'req.Header.Set("Authorization", "GenieKey {UUID}")', UUID),
        (f'headers["Authorization"] = "ApiKey {ALNUM[:40]}=="', f"{ALNUM[:40]}=="),
        (f"Authorization: Klaviyo-API-Key {ALNUM[:34]}", ALNUM[:34]),
        (f"헤더에 KakaoAK {HEX[:32]} 넣으세요", HEX[:32]),
        (f"Authorization: {HEX[:32]}", HEX[:32]),
        # Drawn letters, and drawn keys of every sign
        ("password = hpOejoQsxOvCZ\n", "hpOejoQsxOvCZ"),
        ("uid=deploy;pwd=veNQnPSoAKbjoksJ'", "veNQnPSoAKbjoksJ"),
        ("client_secret: 'oQibFfcjLY'", "oQibFfcjLY"),
        ("비밀번호는 hpOejoQsxOvCZ입니다", "hpOejoQsxOvCZ"),
        ("SECRET_KEY=" + DJANGO + " 넣었어", DJANGO),
        (f"SECRET_KEY = 'django-insecure-{DJANGO}'", f"django-insecure-{DJANGO}"),
        ("export CLIENT_SECRET=LAW26A2Xr5MDX6IWcNXnii93MM_9oz4.DV", "LAW26A2Xr5MDX6IWcNXnii93MM_9oz4.DV"),
        # Behind the user's name
        ("Login for the staging box: admin / madrid-octopus-72.", "madrid-octopus-72"),
        ("계정: admin / dlrjsqlqjs1!0", "dlrjsqlqjs1!0"),
        ("로그인 정보: admin/Qwer1234!", "Qwer1234!"),
        ("login with admin / Xy12ab89 please", "Xy12ab89"),
        ('DriverManager.getConnection(url, "app", "monday#42monday");', "monday#42monday"),
        ("new PDO($dsn, 'root', 'Winter2020');", "Winter2020"),
        ('mysqli_connect("localhost", "root", "hmiUXmc6ua", "shop");', "hmiUXmc6ua"),
        ('server.login("a@b.com", "hunter22x")', "hunter22x"),
        ('new UsernamePasswordCredentials("svc", "Abc123!x")', "Abc123!x"),
        ('smtp.PlainAuth("", "svc", "Abc123!x", host)', "Abc123!x"),
        ("request.basic_auth 'svc', 'Abc123!x'", "Abc123!x"),
        ("$pw = ConvertTo-SecureString 'Orbit_045~' -AsPlainText -Force", "Orbit_045~"),
        # The value before its label, in brackets, and in the line after the question
        ("hunter2!x is my password", "hunter2!x"),
        ("Use Tr0ub4dor&9 as the password until I rotate it.", "Tr0ub4dor&9"),
        ("log in as a@b.com with goYankees351! as temporary password.", "goYankees351!"),
        (f"use {HEX[:32]} as the API key", HEX[:32]),
        ("You can sign in with pw rusty-anchor-battery4 for the demo.", "rusty-anchor-battery4"),
        ("what's the wifi password?\nBob: hunter22\n", "hunter22"),
        ("초기 비밀번호(P@ssw0rd307!)는 꼭 변경하세요.", "P@ssw0rd307!"),
        ("Winter2019!가 비밀번호예요", "Winter2019!"),
        ("q1w2e3r4가 비번이에요", "q1w2e3r4"),
        ("Winter2019!로 비밀번호 변경했습니다", "Winter2019!"),
        ("비번 뭐예요?\nq1w2e3r4", "q1w2e3r4"),
        ("비번 q1w2e3r4~", "q1w2e3r4"),
        ("현관 비번 1234* 누르세요", "1234*"),
    ],
)  # fmt: skip
def test_value_beside_a_key_word_is_a_secret(text: str, value: str) -> None:
    assert found(text) == [value]


@pytest.mark.parametrize(
    "text",
    [
        # Placeholders
        "API_KEY: ${API_KEY}", "API_KEY: <your-api-key>", "token: {{ secrets.TOKEN }}", "password: changeme",
        "password: ********", "password=xxxxxxxx", "api_key = 'YOUR_API_KEY_HERE'", "api_key: your-api-key-123",
        'password: "example"',
        "DB_PASSWORD=$DB_PASSWORD", "PASSWORD=%DB_PASSWORD%", '"token": null', "password: true",
        "password: [REDACTED]", "password = ''",
        "postgres://user:${PW}@db/x", "postgres://user:<password>@db/x", "https://user:password@host/x",
        'password="$(cat /run/pw)"',
        "비밀번호: ********", "secret: test-secret", "api_key=sk-xxxxxxxxxxxxxxxxxxxxxxxx", "token: 'abc123'",
        # Code
        "api_key = os.environ['API_KEY']", "password = process.env.DB_PASSWORD", "max_tokens=4096",
        "token = tokenizer.encode(text)",
        "password = getpass.getpass()", "password=user.password2", "if password == other_password1:",
        "password = args.password1",
        "const [password1, setPassword1] = useState('')", "token = get_token2(user)", 'label = "password.label.2fa"',
        "password_hash = hash_password(pw1)", "secretKeyRef:\n  name: db-secret-1\n  key: password-2",
        "secretName: my-app-tls-2024",
        "password_min_length: 12", "token_type: bearer2", "key = 'user:1234:profile'",
        "def login(password: str, token: str | None = None):",
        # Prose
        "my password is incorrect", "The password reset link expires in 24h", "passport number M12345678",
        "12 tests passed in 0.12s",
        "your password must be at least 8 characters", "the secret to success is work", "a secret santa for 2024",
        "bypass code review2024",
        "I lost the key to room 204", "password policy v2.1 requires 12 characters",
        "used 1523 tokens for gpt-4o-2024-08-06",
        "비밀번호를 잊어버렸어요", "비밀번호는 8자리 이상이어야 합니다", "비밀번호 1234자리", "비밀번호 3회 오류",
        "비밀번호 변경 후 iPhone15에서 로그인",
        "암호화폐 비트코인 2024년 전망", "암호화는 AES256을 씁니다", "키 180cm 몸무게 75kg", "토큰 1000개를 받았어요",
        "비밀번호 1588-1234로 문의", "키보드 K380을 샀어요",
        # Hashes, identifiers, public keys
        f"cache key={HEX[:32]}", f"commit {HEX[:40]}", f"sha256:{HEX}", f"etag: \"{HEX[:32]}\"", f"request {UUID}",
        f"primary key: {UUID}",
        "integrity: sha512-" + ALNUM + ALNUM[:18] + "==", "ssh-rsa AAAAB3NzaC1yc2E" + ALNUM + " kim@x",
        f"idempotency-key: {UUID}",
        "-----BEGIN PUBLIC KEY-----\nMIIB" + ALNUM + "\n-----END PUBLIC KEY-----", "sk-learn-is-a-great-library-for-ml",
        "if '-----BEGIN PRIVATE " + "KEY-----' in text: raise ValueError", f"public_key: {HEX}",
        "key: monday-2024-01-15",
        "image: registry.local/app:1.2.3.4-alpine-20240115-build",
        "see https://github.com/a/b/blob/main/token_utils2.py",
        "/etc/ssl/private/key_2024.pem", "private_key_path: /etc/ssl/private/key2024.pem",
        "api_key_file=/run/secrets/api_key_1",
        "curl -u admin https://x.io", "ssh -p 2222 kim@x.io", "docker run -p 8080:80 nginx", "mysql -u root -p shop",
        "AKIA is a prefix",
        "[SECRET]", "password: [SECRET]",
        # References, encrypted values, names of classes, options without a value
        "DB_PASS=vault:secret/data/app#key", "db_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6238313061\n",
        "password: !secret wifi_password1", "password: '{cipher}a1b2c3d4e5f6a7b8c9d0'",
        "password: arn:aws:secretsmanager:us-east-1:123456789012:secret:x-Ab1",
        "the private key is Ed448PrivateKey and", "signing key: Ed25519PublicKey2",
        "from .oauth2 import OAuth2PasswordBearer as OAuth2PasswordBearer",
        '"output_token": "CloudFrontOriginAccessIdentityList.NextMarker"', "Pass `verbosity=1` to see more",
        "Cookie: theme=dark; lang=ko-KR", "cookie recipe: 2 cups flour123", "curl -u user:password https://x",
        "docker run -u 1000:1000 x", "psql -p5432 -U app", "IDENTIFIED BY '${PW}'", "http://localhost:3000?email=a@b.com",
        "--password is required", '"cache": {"Key": "' + HEX[:32] + '"}', '{ "Key": "Name", "Value": "web-server-1" }',
        'auth=("user", "password")', "use SHA256 as the password hash", "Version2 is the password policy",
        "password: 'process.env.DB_PASSWORD1'", "IDENTIFIED BY 'os.environ[\"DB_PASSWORD\"]'",
        "$pw = Read-Host -AsSecureString",
        "Authorization: KakaoAK ${REST_API_KEY}", "Authorization: Digest username=\"kim\"",
        "password = getUserPassword",
        "secret: MyAppBackendService", "apiKey: apiKeyFromURLOrEnv", "client_secret: WiFiSetupForXY",
        "Login for the portal: see https://x.com/a1b2", "login: docs/page2", "계정: 급여이체 / 2024Q1",
        "login page v1 / v2",
        'button.connect("clicked", "handler2")', 'pool.getConnection("shop", "app")', 'login("user", "password")',
        "Windows11로 비밀번호 변경하세요", "비밀번호(영문+숫자 8자리)는", "비밀번호: 8~20자 영문",
        "비밀번호가 뭐예요?\n010-1234-5678", "forgot your password?\nStep1: click",
    ],
)  # fmt: skip
def test_placeholder_code_prose_and_identifier_are_no_secret(text: str) -> None:
    assert found(text) == []


def test_private_key_that_was_cut_off_is_covered_as_far_as_it_goes() -> None:
    assert found(PEM[:90] + "\n\nDas war alles!") == [PEM[:90]]


def test_two_secrets_in_one_line_are_two() -> None:
    assert found("id/pw: kim / Abc123!, api_key=" + ALNUM[:32]) == ["Abc123!", ALNUM[:32]]


def test_token_is_found_behind_the_words_it_is_joined_to() -> None:
    assert found("leaked-" + "gh" + "p_" + ALNUM[:36]) == ["gh" + "p_" + ALNUM[:36]]
    assert found("my-key-" + "AK" + "IA" + UPPER[:16]) == ["AK" + "IA" + UPPER[:16]]


def test_key_of_wordpress_that_holds_every_kind_of_character_is_a_secret() -> None:
    salt = "t`DK%X:>xy|e-Z(BXb/f(Ur8#~UzUQG-^_Cs_GHs5U-&Wb?pgn^p8(2@}Icn Ca|"
    assert found(f"define('NONCE_SALT',       '{salt}');") == [salt]
