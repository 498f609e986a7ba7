
/** A statement that failed. Its text and the server's words stay here: both may hold customers' data. */
class OnhandDatabaseError extends Exception
{
    public function forCaller()
    {
        switch ($this->getCode()) {
            case 1044:
            case 1142:
            case 1227:
                return 'The shop\'s database user may not do that (error ' . $this->getCode() . '): it must be allowed to create tables.';
            case 1146:
            case 1054:
                return 'A table or column that this bridge expects is missing (error ' . $this->getCode() . '): is it beside the right shop?';
            default:
                return 'The shop\'s database refused a statement (error ' . $this->getCode() . ').';
        }
    }
}

/** A connection in its own session: strict, so that a number that does not fit is an error and never cut to one that does. */
class OnhandDatabase
{
    private $link;

    public function __construct($access, $settings)
    {
        mysqli_report(MYSQLI_REPORT_OFF);
        $host = $access['host'];
        $port = null;
        $socket = isset($access['socket']) && $access['socket'] !== '' ? $access['socket'] : null;
        if (preg_match('/^(.*):(\d+)$/D', $host, $parts) && substr_count($host, ':') === 1) {
            $host = $parts[1];
            $port = (int) $parts[2];
        } elseif (preg_match('#^([^:/]*):(/.+)$#D', $host, $parts)) {
            $host = $parts[1] === '' ? 'localhost' : $parts[1];
            $socket = $parts[2];
        }
        if (isset($access['port']) && (int) $access['port'] > 0) {
            $port = (int) $access['port'];
        }
        $this->link = mysqli_init();
        $this->link->options(MYSQLI_OPT_CONNECT_TIMEOUT, 5);
        $connected = $port === null && $socket === null
            ? @$this->link->real_connect($host, $access['user'], $access['password'], $access['name'])
            : @$this->link->real_connect($host, $access['user'], $access['password'], $access['name'], (int) $port, (string) $socket);
        if (!$connected) {
            throw new OnhandRefusal(503, 'The shop\'s database cannot be reached (error ' . (int) mysqli_connect_errno() . ').');
        }
        // Quoting depends on this: real_escape_string must know the character set of the session.
        if (!$this->link->set_charset($settings['db_charset']) && !$this->link->set_charset('utf8')) {
            throw new OnhandRefusal(503, 'The database does not know the character set of the settings.');
        }
        $this->run("SET SESSION sql_mode = 'STRICT_ALL_TABLES'");
        // MySQL cuts a list that is put together after 1,024 letters unless it is told otherwise, without a word.
        $this->run('SET SESSION group_concat_max_len = 1000000');
        if ($settings['time_zone'] !== '') {
            $this->run('SET SESSION time_zone = ?', array($settings['time_zone']));
        }
    }

    /** Every ? is replaced by a quoted value; the statement itself never holds anything that came from outside. */
    public function run($sql, $values = array())
    {
        $parts = explode('?', $sql);
        if (count($parts) !== count($values) + 1) {
            throw new OnhandDatabaseError('placeholders', 0);
        }
        $whole = array_shift($parts);
        foreach (array_values($values) as $index => $value) {
            $whole .= $this->quoted($value) . $parts[$index];
        }
        $result = $this->link->query($whole);
        if ($result === false) {
            throw new OnhandDatabaseError('statement', (int) $this->link->errno);
        }
        return $result;
    }

    public function rows($sql, $values = array())
    {
        $result = $this->run($sql, $values);
        $rows = array();
        while (($row = $result->fetch_assoc()) !== null) {
            $rows[] = $row;
        }
        $result->free();
        return $rows;
    }

    public function one($sql, $values = array())
    {
        $rows = $this->rows($sql, $values);
        return isset($rows[0]) ? $rows[0] : null;
    }

    public function affected()
    {
        return (int) $this->link->affected_rows;
    }

    public function version()
    {
        return (string) $this->link->server_info;
    }

    private function quoted($value)
    {
        if ($value === null) {
            return 'NULL';
        }
        if (is_int($value)) {
            return (string) $value;
        }
        if (is_array($value)) {
            return implode(', ', array_map(array($this, 'quoted'), $value));
        }
        return "'" . $this->link->real_escape_string((string) $value) . "'";
    }
}

/** Deadlocks and lock time-outs undo the whole transaction: it is begun anew, a few times. */
function onhand_transaction($database, $work)
{
    for ($try = 1; ; $try++) {
        $database->run('START TRANSACTION');
        try {
            $result = call_user_func($work);
            $database->run('COMMIT');
            return $result;
        } catch (OnhandDatabaseError $error) {
            try {
                $database->run('ROLLBACK');
            } catch (OnhandDatabaseError $gone) {
                throw $error;
            }
            if (!in_array($error->getCode(), array(1213, 1205), true) || $try >= 5) {
                throw $error;
            }
            usleep(mt_rand(5, 50) * 1000 * $try);
        } catch (OnhandRefusal $refusal) {
            $database->run('ROLLBACK');
            throw $refusal;
        }
    }
}

/** Runs `work` while nobody else does under the same name; the name is of this database, others have their own. */
function onhand_alone($database, $name, $work)
{
    $lock = substr(hash('sha256', $name), 0, 40);
    $row = $database->one("SELECT GET_LOCK(CONCAT('oh', LEFT(MD5(DATABASE()), 8), ?), 10) AS got", array($lock));
    if ((int) $row['got'] !== 1) {
        throw new OnhandRefusal(503, 'Another request is busy with the same; try again.');
    }
    try {
        $result = call_user_func($work);
    } catch (Exception $error) {
        onhand_release($database, $lock);
        throw $error;
    }
    onhand_release($database, $lock);
    return $result;
}

/** A lock whose connection broke is gone already. */
function onhand_release($database, $lock)
{
    try {
        $database->run("DO RELEASE_LOCK(CONCAT('oh', LEFT(MD5(DATABASE()), 8), ?))", array($lock));
    } catch (OnhandDatabaseError $error) {
        return;
    }
}

/** The bridge's own tables. They are made when they are missing, beside the shop's, and removed by `uninstall`. */
function onhand_own_tables($prefix)
{
    $p = $prefix . 'onhand_bridge_';
    return array(
        $p . 'keys' => "CREATE TABLE IF NOT EXISTS {$p}keys (
            id CHAR(64) NOT NULL, body_hash CHAR(64) NOT NULL, answer MEDIUMBLOB NULL, created_at INT UNSIGNED NOT NULL,
            PRIMARY KEY (id), KEY created_at (created_at)) DEFAULT CHARSET=utf8",
        $p . 'changes' => "CREATE TABLE IF NOT EXISTS {$p}changes (
            id CHAR(64) NOT NULL, line INT UNSIGNED NOT NULL, source TINYINT UNSIGNED NOT NULL, item_id INT UNSIGNED NOT NULL,
            delta INT NULL, target INT NULL, from_quantity INT NULL, done TINYINT UNSIGNED NOT NULL DEFAULT 0,
            PRIMARY KEY (id, line)) DEFAULT CHARSET=utf8",
        $p . 'orders' => "CREATE TABLE IF NOT EXISTS {$p}orders (
            order_id INT UNSIGNED NOT NULL, fingerprint CHAR(40) NOT NULL, born INT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL,
            PRIMARY KEY (order_id), KEY seq (seq)) DEFAULT CHARSET=utf8",
        $p . 'seen' => "CREATE TABLE IF NOT EXISTS {$p}seen (
            source TINYINT UNSIGNED NOT NULL, item_id INT UNSIGNED NOT NULL, sku VARBINARY(1024) NOT NULL, quantity DOUBLE NOT NULL,
            seq BIGINT UNSIGNED NOT NULL, PRIMARY KEY (source, item_id), KEY seq (seq, source, item_id)) DEFAULT CHARSET=utf8",
        $p . 'facts' => "CREATE TABLE IF NOT EXISTS {$p}facts (
            name VARCHAR(40) NOT NULL, value VARCHAR(255) NOT NULL, PRIMARY KEY (name)) DEFAULT CHARSET=utf8",
    );
}

/** InnoDB where the server has it, whatever its default is: a key has to be written together with the stock. */
function onhand_make_tables($shop)
{
    foreach (onhand_own_tables($shop->prefix) as $statement) {
        try {
            $shop->database->run($statement . ' ENGINE=InnoDB');
        } catch (OnhandDatabaseError $error) {
            if (!in_array($error->getCode(), array(1286, 1289), true)) {
                throw $error;
            }
            $shop->database->run($statement);
        }
    }
}

function onhand_drop_tables($shop)
{
    foreach (array_keys(onhand_own_tables($shop->prefix)) as $table) {
        $shop->database->run('DROP TABLE IF EXISTS ' . $table);
    }
}

/** Whether stock and key can be written in one transaction: every table of stock, and our own, must keep transactions. */
function onhand_engines($shop)
{
    $tables = array($shop->prefix . 'onhand_bridge_keys');
    foreach ($shop->sources as $source) {
        $tables[] = $source['table'];
    }
    $rows = $shop->database->rows(
        'SELECT TABLE_NAME AS name, ENGINE AS engine, TABLE_COLLATION AS collation_name FROM information_schema.TABLES
          WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (?)',
        array($tables)
    );
    $engines = array();
    foreach ($rows as $row) {
        $engines[$row['name']] = array('engine' => (string) $row['engine'], 'collation' => (string) $row['collation_name']);
    }
    return $engines;
}

function onhand_has_transactions($shop)
{
    $engines = onhand_engines($shop);
    if (!isset($engines[$shop->prefix . 'onhand_bridge_keys'])) {
        onhand_make_tables($shop);
        $engines = onhand_engines($shop);
    }
    foreach ($engines as $table) {
        if (strcasecmp($table['engine'], 'InnoDB') !== 0) {
            return false;
        }
    }
    return true;
}
